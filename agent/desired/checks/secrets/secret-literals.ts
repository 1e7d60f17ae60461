// Secrets that are written where only their paths belong: in variables, arguments, labels, URLs, comments and files. The
// finding says where and what kind, and never what.

import { LARGEST_FILE_BYTES } from "../../../../shared/manifest/file-fault.ts";
import type { Manifest } from "../../../../shared/manifest/manifest.ts";
import { quoteText } from "../../../../shared/text/problem.ts";
import {
  blame,
  type Fault,
  type FiledService,
  type FileFinding,
  type RepositoryView,
} from "../view/repository-view.ts";
import {
  findShape,
  hasUrlPassword,
  isReference,
  isSecretName,
  isSecretValue,
  locateShape,
  looksRandom,
} from "./secret-shapes.ts";

/** Checks manifests, fleet.toml and the files beside the manifests. */
export function checkSecretLiterals(view: RepositoryView): FileFinding[] {
  return [
    ...view.services.flatMap((service) => checkService(service)),
    ...checkComments(view),
    ...checkFleet(view),
    ...view.nodes.flatMap((node) => checkNodeFiles(view, node)),
  ];
}

interface Literal {
  /** What the value is given to: a variable, an option, a label. */
  name: string;
  value: string;
  path: readonly (string | number)[];
}

const HINT = "put the value into the secrets' store, and its path under [secrets.env] or [secrets.files]";

function checkService(service: FiledService): FileFinding[] {
  const findings: FileFinding[] = [];
  for (const literal of listLiterals(service.manifest)) {
    const fault = judgeLiteral(literal);
    if (fault !== undefined) findings.push(blame(service, literal.path, fault));
  }
  for (const { path, argv } of listArgv(service.manifest)) {
    for (const [index, argument] of argv.entries()) {
      const fault = judgeArgument(argument, argv[index - 1]);
      if (fault !== undefined) findings.push(blame(service, [...path, index], fault));
    }
  }
  return findings;
}

function judgeLiteral({ name, value }: Literal): Fault | undefined {
  const known = judgeText(name, value);
  if (known !== undefined) return known;
  return isSecretName(name) && isSecretValue(name, value)
    ? describeSecret(`the name says that this is a secret`)
    : undefined;
}

/** What can be said of a text without its name; randomness is excused by a name that says why. */
function judgeText(name: string, text: string): Fault | undefined {
  const shape = text.length < 16 ? undefined : findShape(text);
  if (shape !== undefined) return describeSecret(`this holds ${shape}`);
  if (hasUrlPassword(text)) return describeSecret("a URL in it holds a password");
  if (!looksRandom(name, text)) return undefined;
  const fault = describeSecret("this looks like a key: it is long and random");
  return { ...fault, hint: `${HINT}; if it is public, let the name say so (…_ID, …_PUBLIC_KEY, …_SHA256)` };
}

function describeSecret(message: string): Fault {
  return { severity: "error", code: "secret-literal", message, hint: HINT };
}

/** `--token=…`, `TOKEN=…` anywhere in the argument (it may be a shell's), or the argument after `--token`. */
function judgeArgument(argument: string, before: string | undefined): Fault | undefined {
  const option = before !== undefined && /^--?[A-Za-z][\w.-]*$/.test(before) ? before.replace(/^-+/, "") : "";
  const known = judgeText(option === "" ? (/^-*([\w.-]{1,100})=/.exec(argument)?.[1] ?? "") : option, argument);
  if (known !== undefined) return known;
  const said = option !== "" && !argument.startsWith("-") && isSecretName(option) && isSecretValue(option, argument);
  if (said) return describeSecret(`the value of ${quoteText(before ?? "")} is a secret by its name`);
  for (const [, name = "", value = ""] of argument.matchAll(ASSIGNMENT)) {
    const plain = value.replace(/^["']|["']$/g, "");
    if (isSecretName(name) && !isReference(plain) && isSecretValue(name, plain)) {
      return describeSecret(`the value of ${quoteText(name)} is a secret by its name`);
    }
  }
  return undefined;
}

const ASSIGNMENT = /(?<![\w.-])(-{0,2}[A-Za-z][\w.-]{0,100})(?:=|(?<=--[\w.-]{1,100}) )("[^"]*"|'[^']*'|[^\s"';&|]+)/g;

function* listLiterals(manifest: Manifest): Iterable<Literal> {
  for (const [name, value] of Object.entries(manifest.env)) yield { name, value, path: ["env", name] };
  for (const [name, value] of Object.entries(manifest.labels)) yield { name, value, path: ["labels", name] };
  for (const [name, value] of Object.entries(manifest.log?.options ?? {})) {
    yield { name, value, path: ["log", "options", name] };
  }
  const probed = manifest.health?.http?.path;
  if (probed !== undefined) yield* listQuery(probed, ["health", "http", "path"]);
  for (const [index, { target }] of manifest.requires.entries()) {
    if (target.kind === "endpoint") yield* listQuery(target.url, ["requires", index]);
  }
  for (const [index, target] of manifest.wants.entries()) {
    if (target.kind === "endpoint") yield* listQuery(target.url, ["wants", index]);
  }
}

/** `?token=…` in a URL or a path. */
function* listQuery(url: string, path: readonly (string | number)[]): Iterable<Literal> {
  const query = url.indexOf("?");
  if (query === -1) return;
  for (const [name, value] of new URLSearchParams(url.slice(query))) yield { name, value, path };
}

interface Argv {
  path: readonly (string | number)[];
  argv: readonly string[];
}

function* listArgv({ command, entrypoint, health, files, backups }: Manifest): Iterable<Argv> {
  if (command !== undefined) yield { path: ["command"], argv: command };
  if (entrypoint !== undefined) yield { path: ["entrypoint"], argv: entrypoint };
  if (health?.exec !== undefined) yield { path: ["health", "exec"], argv: health.exec };
  for (const [index, { on_change: change }] of files.entries()) {
    if (typeof change === "object" && "exec" in change) {
      yield { path: ["files", index, "on_change", "exec"], argv: change.exec };
    }
  }
  for (const [index, backup] of backups.entries()) {
    if (backup.command !== undefined) yield { path: ["backups", index, "command"], argv: backup.command };
    for (const when of ["before", "after"] as const) {
      for (const [at, { exec }] of backup.hooks[when].entries())
        yield { path: ["backups", index, "hooks", when, at, "exec"], argv: exec };
    }
  }
}

/** A token in a comment is in Git all the same. Manifests that do not parse are looked through as well. */
function checkComments(view: RepositoryView): FileFinding[] {
  return view.manifests.flatMap(({ node, file, text }) => {
    // One look at the whole text spares the lines of nearly every manifest.
    if (findShape(text) === undefined) return [];
    return text.split("\n").flatMap((line, index): FileFinding[] => {
      const start = findComment(line);
      const found = start === undefined ? undefined : locateShape(line.slice(start));
      if (start === undefined || found === undefined) return [];
      return [
        {
          ...describeSecret(`a comment holds ${found.what}`),
          hint: "take it out, and change the secret",
          path: [],
          file,
          nodes: [node],
          place: { line: index + 1, column: start + found.column },
        },
      ];
    });
  });
}

/** Where a line's comment begins: the first # outside quotes. A line inside a text of several lines may be taken for one. */
function findComment(line: string): number | undefined {
  let quote: string | undefined;
  for (let index = 0; index < line.length; index += 1) {
    const character = line.charAt(index);
    if (quote === undefined && character === "#") return index;
    if (quote === undefined && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = undefined;
    else if (quote === '"' && character === "\\") index += 1;
  }
  return undefined;
}

function checkFleet({ fleet }: RepositoryView): FileFinding[] {
  const found = fleet.text === undefined ? undefined : locateShape(fleet.text);
  const shapes = found === undefined ? [] : [{ ...describeSecret(`this holds ${found.what}`), path: [], place: found }];
  const urls = Object.entries(fleet.fleet?.repositories ?? {}).flatMap(([name, repository]) =>
    repository.kind === "s3" && hasUrlPassword(repository.endpoint)
      ? [{ ...describeSecret("the URL holds a password"), path: ["repositories", name, "endpoint"] }]
      : [],
  );
  return [...shapes, ...urls].map((finding) => ({ ...finding, file: fleet.file, nodes: [] }));
}

/** Only shapes are looked for here: a file may hold anything, and a public certificate is as random as a key. */
function checkNodeFiles(view: RepositoryView, node: string): FileFinding[] {
  const findings: FileFinding[] = [];
  for (const entry of view.files.list(node).values()) {
    if (entry.kind !== "file" || entry.sizeBytes > LARGEST_FILE_BYTES) continue;
    const content = view.files.read(node, entry.path);
    // One byte, one character: the file may be binary.
    const found = content === undefined ? undefined : locateShape(new TextDecoder("latin1").decode(content));
    if (found === undefined) continue;
    findings.push({
      severity: "error",
      code: "secret-in-file",
      path: [],
      file: view.files.describe(node, entry.path),
      nodes: [node],
      place: { line: found.line, column: found.column },
      message: `this file holds ${found.what}`,
      hint: "put it into the secrets' store, its path under [secrets.templates], and {{ secrets.NAME }} here in a template",
    });
  }
  return findings;
}
