// What a secret looks like: by its own shape, by the name it is given to, or by its randomness. Answers in words that never
// hold the value. Every pattern is bounded: a hostile text of a megabyte costs milliseconds.

/** Tokens with a shape of their own, as their makers document them. */
const SHAPES: readonly (readonly [what: string, pattern: RegExp])[] = [
  ["a private key", /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/],
  ["an AWS access key", /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/],
  ["a GitHub token", /\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})/],
  ["a GitLab token", /\bgl(?:pat|ptt|dt|rt|soat)-[A-Za-z0-9_-]{20}/],
  ["a Slack token", /\bxox[abeoprs]-[A-Za-z0-9-]{10}/],
  ["a Slack webhook", /hooks\.slack\.com\/services\/[A-Z0-9]{1,20}\/[A-Z0-9]{1,20}\/[A-Za-z0-9]{16}/],
  ["a Stripe key", /\b(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{10}/],
  ["an API key", /\bsk-(?=[A-Za-z0-9_-]{0,100}\d)[A-Za-z0-9_-]{20}/],
  ["a JSON web token", /\beyJ[A-Za-z0-9_-]{8,300}\.eyJ[A-Za-z0-9_-]{8}/],
  ["an age identity", /\bAGE-SECRET-KEY-1[0-9A-Z]{20}/],
  ["a Vault token", /\bhv[sb]\.[A-Za-z0-9_-]{20}/],
  ["an npm token", /\bnpm_[A-Za-z0-9]{36}/],
  ["a Docker token", /\bdckr_pat_[A-Za-z0-9_-]{20}/],
  ["a PyPI token", /\bpypi-AgE[A-Za-z0-9_-]{20}/],
  ["a Google API key", /\bAIza[0-9A-Za-z_-]{35}/],
  ["a SendGrid key", /\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}/],
  ["an Infisical token", /\bst\.[0-9a-f]{24}\.[0-9a-f]{32}\./],
];

const ANY_SHAPE = new RegExp(SHAPES.map(([, pattern]) => pattern.source).join("|"));

/** What a text holds by its shape, such as "a GitHub token"; undefined where it holds none. */
export function findShape(text: string): string | undefined {
  if (!ANY_SHAPE.test(text)) return undefined;
  return SHAPES.find(([, pattern]) => pattern.test(text))?.[0];
}

/** The same with the place in the text; both count from 1. */
export function locateShape(text: string): { what: string; line: number; column: number } | undefined {
  const match = ANY_SHAPE.exec(text);
  if (match === null) return undefined;
  const before = text.slice(0, match.index);
  const line = before.split("\n").length;
  return { what: findShape(match[0]) ?? "a secret", line, column: match.index - before.lastIndexOf("\n") };
}

const USER_AND_PASSWORD = /:\/\/[^\s/:@"'<>]{0,256}:([^\s/@"'<>]{1,512})@/g;

/** True when a URL in the text has a password that is written out. */
export function hasUrlPassword(text: string): boolean {
  if (!text.includes("://")) return false;
  return [...text.matchAll(USER_AND_PASSWORD)].some(([, password]) => !isReference(password ?? ""));
}

/** Words that say "secret" in a variable's name, at the end of a word of it: TOKENIZER and PASSENGER are none. */
const SECRET_WORDS =
  /(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|(?:API|PRIVATE|ACCESS|ENCRYPTION|SIGNING|MASTER|AUTH)_?KEY)(?=S?(?:_|\d|$))|(?:_|^)(?:PASS|PWD)$|REQUIREPASS$|MASTERAUTH$/g;

/** Words after it that make the value something about a secret, and not the secret. */
const HARMLESS_AFTER: ReadonlySet<string> = new Set([
  ..."FILE FILES PATH DIR DIRECTORY URL URI ENDPOINT HOST ISSUER AUDIENCE ALGORITHM ALGO ALG HASHER TYPE KIND MODE".split(
    " ",
  ),
  ..."STRATEGY POLICY PROVIDER BACKEND ENGINE STORE MANAGER HEADER HEADERS COOKIE CLAIM CLAIMS FIELD PARAM PREFIX".split(
    " ",
  ),
  ..."SUFFIX FORMAT ENCODING NAME NAMES ID IDS REF TTL EXPIRY EXPIRES EXPIRATION EXPIRE LIFETIME LIFESPAN DURATION".split(
    " ",
  ),
  ..."TIMEOUT INTERVAL AGE DAYS HOURS MINUTES SECONDS ROTATION LENGTH SIZE LIMIT LIMITS MAX MIN COUNT ROUNDS".split(
    " ",
  ),
  ..."ITERATIONS BUCKET REGION VERSION ENABLED DISABLED ENABLE DISABLE REQUIRED REQUIRE ALLOW ALLOWED RESET LOGIN".split(
    " ",
  ),
  ..."SCOPE SCOPES PUBLIC KEYSET BUDGET COST PER LOG LOGGING METRICS CACHE CHECK VALIDATION VALIDATE STRENGTH".split(
    " ",
  ),
  ..."REGEX PATTERN".split(" "),
]);

/** Words before it that do the same. */
const HARMLESS_BEFORE: ReadonlySet<string> = new Set(["PUBLIC", "MAX", "NO", "ALLOW", "REQUIRE", "ENABLE", "DISABLE"]);

/** `dbPassword`, `db-password` and `DB_PASSWORD` are one name. */
function foldName(name: string): string {
  return name
    .slice(0, 200)
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll(/[^A-Za-z0-9]+/g, "_")
    .toUpperCase();
}

/** True when a name says that its value is a secret. */
export function isSecretName(name: string): boolean {
  const plain = foldName(name);
  const words = [...plain.matchAll(SECRET_WORDS)];
  const last = words.at(-1);
  if (last === undefined) return false;
  const after = plain.slice(last.index + last[0].length).split("_");
  const before = plain.slice(0, words[0]?.index).split("_");
  return !after.some((word) => HARMLESS_AFTER.has(word)) && !before.some((word) => HARMLESS_BEFORE.has(word));
}

const SWITCH = /^(?:true|false|yes|no|on|off|none|null|nil|enabled?|disabled?|optional|required|auto|default)$/i;

/** True when a value is not itself the secret: nothing, a path, a switch, a variable, a reference to a store. */
export function isReference(value: string): boolean {
  const text = value.trim();
  if (text === "" || SWITCH.test(text)) return true;
  if (/^(?:\/|\.{1,2}\/|~\/|file:|[a-z]:\\)/i.test(text)) return true;
  if (/^(?:\$|\{\{|%[({]|<[^>]*>$|\*+$)/.test(text)) return true;
  return /^(?:vault|env|arn|ref|op|infisical|secretref|sops|awssm|gcpsm):/i.test(text);
}

/** True when a value under a secret's name is taken for the secret. */
export function isSecretValue(name: string, value: string): boolean {
  if (isReference(value)) return false;
  const text = value.trim();
  // A number is a likely password and an unlikely token: MAX_TOKENS, TOKEN_SKEW and their like hold numbers.
  if (/^\d+(?:\.\d+)?[a-z]{0,3}$/i.test(text)) return /PASS|PWD|SECRET/i.test(name);
  // A URL is a place; the password in one has a rule of its own.
  return !/^[a-z][a-z0-9+.-]{0,20}:\/\//i.test(text);
}

const RUN = /[A-Za-z0-9+/_=-]{32,}/g;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const PUBLIC_START = /^(?:age1|AAAA(?:C3NzaC1lZDI1NTE5|B3NzaC1yc2E|E2VjZHNh)|MII[A-Z])/;
const DIGEST_BEFORE = /(?:sha(?:1|256|384|512)|md5|ed25519)[:=-]?$/i;
const PUBLIC_NAME =
  /(?:^|_)(?:PUBLIC|PUBKEY|CERT|CERTIFICATE|FINGERPRINT|DIGEST|CHECKSUM|SHA\d*|MD5|HASH|COMMIT|REVISION|VERSION|BUILD|RECIPIENTS?|IDS?|UUID|DSN|INTEGRITY|ETAG)(?:_|$)/;

/** The longest text whose randomness is looked at. */
const LONGEST_LOOKED_AT = 16_384;

/**
 * True when a text holds 32 characters or more in a row that look random, and neither its name nor its form says that it
 * is public (an id, a digest, a public key).
 */
export function looksRandom(name: string, text: string): boolean {
  if (text.length < 32) return false;
  if (PUBLIC_NAME.test(foldName(name))) return false;
  const looked = text.slice(0, LONGEST_LOOKED_AT);
  for (const match of looked.matchAll(RUN)) {
    const run = match[0].replace(/=+$/, "");
    if (run.length < 32 || UUID.test(run) || PUBLIC_START.test(run)) continue;
    if (DIGEST_BEFORE.test(looked.slice(Math.max(0, match.index - 10), match.index))) continue;
    if (isRandom(run)) return true;
  }
  return false;
}

/**
 * Entropy alone takes long words for keys; what tells them apart is how often the kind of character changes. Of random
 * texts of 32 characters these bounds find 99 % (base 64, 62, 36 and 16; measured with 20,000 of each), and no long name.
 */
function isRandom(run: string): boolean {
  const letters = run.replaceAll(/[^A-Za-z0-9]/g, "");
  const mixed = /[a-z]/.test(letters) && /[A-Z]/.test(letters);
  if (!/\d/.test(letters) || !/[A-Za-z]/.test(letters) || letters.length < 24) return false;
  let changes = 0;
  for (let index = 1; index < letters.length; index += 1) {
    if (kindOf(letters.charCodeAt(index)) !== kindOf(letters.charCodeAt(index - 1))) changes += 1;
  }
  const hex = /^[0-9a-f]+$|^[0-9A-F]+$/.test(letters);
  return changes / (letters.length - 1) >= (mixed ? 0.35 : 0.22) && measureEntropy(letters) >= (hex ? 3 : 3.7);
}

function kindOf(code: number): number {
  return code <= 57 ? 0 : code <= 90 ? 1 : 2;
}

/** Shannon entropy in bits for each character. */
function measureEntropy(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}
