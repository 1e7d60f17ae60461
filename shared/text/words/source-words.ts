// What is wrong with a source, in words: where it failed and what to do. Never holds a token: nothing that a server sent is quoted but
// Git's own error line. Pure; the only place where such a sentence is made.

import type { AnswerFault, CommitFault, RefusedTag, SourceFault, TagFault, UnreadSource } from "../../state/hold.ts";
import type { ReasonOf } from "../../state/reason.ts";
import { shortRevision } from "../short-revision.ts";
import { canDescribeExchange, describeExchange } from "./exchange-words.ts";
import { describeSize } from "../size.ts";

type Words<R extends { code: string }> = { [C in R["code"]]: (why: ReasonOf<C, R>) => string };

const FAULT_WORDS: Words<SourceFault> = {
  said: ({ message }) => message,
  "server-said": ({ message }) => `the server says: ${message}`,
  "broken-answer": ({ why }) => ANSWER_WORDS[why],
  exchange: ({ fault, place }) => describeExchange(fault, place),
  "child-failed": ({ reason }) => `the process that fetches failed: ${reason}`,
  "child-answer-cut": () => "the process that fetches gave an answer that is not whole",
  "keys-unread": ({ message }) => `no commit is taken: ${message}`,
  unexpected: ({ message }) => `it failed unexpectedly: ${message}`,
  "first-reading": () => "it is read for the first time since the agent was started",
  "http-status": describeStatus,
  "not-git": ({ host, type }) =>
    type === "text/html"
      ? `${host} answers with a web page in place of Git's data: a login page, a captive portal or a wrong source.git.url`
      : `${host} does not answer as a Git server does (its answer is ${type === "" ? "of no type" : `of type ${type}`}): check source.git.url`,
  "too-large": ({ what, limitBytes, announcedBytes, hint }) => {
    const size = announcedBytes === undefined ? "" : ` (${describeSize(announcedBytes)})`;
    return `${what}${size} is larger than ${describeSize(limitBytes)}${hint === undefined ? "" : `: ${hint}`}`;
  },
  "fetch-too-large": ({ ended }) =>
    `the repository is too large: the process that fetches was ended, since ${ended}; take out of the repository what is so large`,
  "branch-missing": ({ branch, empty, head }) => {
    if (empty) return `the repository is empty, or has nothing but other branches: push ${branch}`;
    const other = head === undefined ? "" : `; its default branch is ${head}`;
    return `the repository has no branch ${branch}${other}: push it, or correct source.git.branch`;
  },
  "commit-unusable": ({ commit, branch, why }) =>
    `commit ${shortRevision(commit)} of ${branch} ${word(COMMIT_WORDS, why)}`,
  "not-trusted": ({ commit, author, node, first, what, why, needs, merged }) =>
    `commit ${commit} by ${author} ${first ? "brings" : "changes"} ${what} and is not trusted: ${word(SIGNATURE_WORDS, why)}; ` +
    `sign it with a key that source.git.trusted_keys of ${node} lists with ${needs}${merged ? MERGED : ""}, or revert it`,
};

const ANSWER_WORDS: Readonly<Record<AnswerFault, string>> = {
  "no-packet-lines": "the answer is not Git's: it has no packet lines",
  "packet-length": "the answer is not Git's: it has a packet of length 3",
  "cut-packet": "the answer breaks off within a packet",
  "cut-refs": "the list of refs breaks off",
  "other-service": "the answer is for another service of Git",
  "no-ref-line": "the answer is not Git's: it has a line that is no ref",
  "no-shallow": "the server gives no shallow packs, which every Git server since 2015 does",
  "sha256-ids": "the repository uses SHA-256 object ids, which this version does not read",
  "no-pack": "the server sent no pack",
  "not-a-pack": "the server sent something else than a pack",
  "cut-pack": "the pack breaks off: the connection ended too early",
  "damaged-pack": "the pack is damaged: its checksum is another one",
  "no-tree": "the commit names no tree",
  "unreadable-directory": "a directory of the commit cannot be read",
  "no-commit": "the branch has no commit",
};

/** What a forge made of a pull request is no signed commit of a person's, and few forges sign it with SSH. */
const MERGED = " (of a forge's merge button few are: merge it yourself, signed, and push)";

const COMMIT_WORDS: Words<CommitFault> = {
  "no-node-directory": ({ directory, there, more }) =>
    `has no directory ${directory}; there are ${there.join(", ") || "none"}${more > 0 ? `, and ${more} more` : ""}`,
  "no-path": ({ directory }) => `has no directory ${directory}: correct source.git.path`,
  "no-manifests": ({ shown }) => `has no directory ${shown}manifests: expected ${shown}manifests/<node>/<service>.toml`,
  "no-file": ({ kind, path }) => `has a ${kind} in place of the file ${path}`,
  "file-not-taken": ({ path, message }) => `has a file ${path} of which nothing is taken: ${message}`,
};

const SIGNATURE_WORDS: Words<TagFault> = {
  unsigned: () => "it is not signed",
  "several-signatures": () => "it carries more than one signature",
  "gpg-signature": () => "it carries a GPG signature, which is not checked: sign with an SSH key",
  "foreign-signature": () => "it carries a signature that is not SSH's",
  "broken-signature": () => "it carries an SSH signature that cannot be read",
  "key-not-listed": ({ fingerprint }) =>
    `it is signed with ${fingerprint}, which source.git.trusted_keys does not list`,
  "signature-bad": ({ key }) => `its signature by ${key} is bad: it is not what that key signed`,
  "key-not-allowed": ({ key, node }) =>
    `its signature by ${key} is good, but that key is not allowed for ${node ?? "that"}`,
  "lightweight-tag": ({ signed }) => `it is a lightweight tag; make an annotated one (git tag ${signed ? "-s" : "-a"})`,
  "tag-of-a-tag": () => "it points at another tag; tag the commit itself",
  "made-as-another": ({ name }) => `it was made as ${name}`,
};

/** Why a tag that looks like an approval is none, as one text. */
export function describeRefusedTag({ tag, why }: RefusedTag): string {
  return `the tag ${tag} does not approve it: ${word(SIGNATURE_WORDS, why)}`;
}

function word<R extends { code: string }>(table: Words<R>, why: R): string {
  return (table[why.code as R["code"]] as (why: R) => string)(why);
}

/** What was wrong, as one text without its place. */
export function describeSourceFault(fault: SourceFault): string {
  return word(FAULT_WORDS, fault);
}

/** Faults that carry another one. */
const FURTHER: Readonly<Record<string, object>> = { "commit-unusable": COMMIT_WORDS, "not-trusted": SIGNATURE_WORDS };

interface UnknownFault {
  code?: string;
  why?: string | { code?: string };
  fault?: { kind?: string };
  place?: object;
}

/** True for what this version can word: another version's process may have made it. */
export function canDescribeFault(fault: unknown): fault is SourceFault {
  const { code, why, fault: further, place } = (fault ?? {}) as UnknownFault;
  if (code === undefined || !Object.hasOwn(FAULT_WORDS, code)) return false;
  if (code === "broken-answer") return typeof why === "string" && Object.hasOwn(ANSWER_WORDS, why);
  if (code === "exchange") return canDescribeExchange(further) && place !== undefined;
  const words = FURTHER[code];
  return words === undefined || (typeof why === "object" && Object.hasOwn(words, why.code ?? ""));
}

/** What was wrong and where, and whether time mends it. */
export function describeUnread({ location, fault, final }: UnreadSource): string {
  const where = location === undefined ? "" : `read ${location}: `;
  // Time alone mends no commit: nothing is promised that waits for people.
  const then = final === true ? "; the same commit is not fetched again, unless by orca sync: the next one is" : "";
  return `${where}${describeSourceFault(fault)}${then}`;
}

/** What an HTTP status other than 200 means and what to do about it. */
function describeStatus({ status, host, tokenFile }: ReasonOf<"http-status", SourceFault>): string {
  const token = tokenFile === undefined ? undefined : `the token in ${tokenFile}`;
  switch (status) {
    case 401:
      return token === undefined
        ? `${host} asks for a login (401): put a token into a file and name it in source.git.token_file`
        : `${host} refuses ${token} (401): it is wrong, revoked or has run out; write a new one into the file`;
    case 403:
      return token === undefined
        ? `${host} forbids it (403): name a token that may read the repository in source.git.token_file`
        : `${host} forbids it (403): ${token} needs the right to read the repository`;
    case 404:
      return `${host} finds no such repository (404): the repository or ${token === undefined ? "a" : "the"} token's right to read it is missing${
        token === undefined ? "; a private one needs source.git.token_file" : `; check source.git.url and ${token}`
      }`;
    case 429:
      return `${host} limits the rate of requests (429)`;
    default:
      return status >= 500
        ? `${host} failed (${status}): look at the server`
        : `${host} answers with ${status}, which is none of Git's answers: check source.git.url`;
  }
}
