// Why the newest inputs are not in force, as codes with fields: the source could not be read, or something holds the whole change. Made
// by sources/, desired/ and loop/; shared/text/words/ turns it into what people read, and nothing reads that again. Pure data.

import type { ExchangePlace, UnansweredFault } from "../fault/exchange-fault.ts";

/** What was wrong with the source itself. */
export type SourceFault =
  /** What a program, a file or the operating system said. */
  | { code: "said"; message: string }
  /** Git's own error line of a server. */
  | { code: "server-said"; message: string }
  | { code: "broken-answer"; why: AnswerFault }
  | { code: "exchange"; fault: UnansweredFault; place: ExchangePlace }
  /** The process that fetches. */
  | { code: "child-failed"; reason: string }
  | { code: "child-answer-cut" }
  /** The files of the keys that are trusted. */
  | { code: "keys-unread"; message: string }
  /** A fault of ours. */
  | { code: "unexpected"; message: string }
  | { code: "first-reading" }
  /** A server's answer that is not what Git's servers answer. */
  | { code: "http-status"; status: number; host: string; tokenFile?: string | undefined }
  | { code: "not-git"; host: string; type: string }
  | {
      code: "too-large";
      what: string;
      limitBytes: number;
      announcedBytes?: number | undefined;
      hint?: string | undefined;
    }
  /** `ended` says why the process that fetches was ended. */
  | { code: "fetch-too-large"; ended: string }
  /** `head` is the server's default branch. */
  | { code: "branch-missing"; branch: string; empty: boolean; head?: string | undefined }
  | { code: "commit-unusable"; commit: string; branch: string; why: CommitFault }
  /** Signatures do not allow it: what of the node's inputs the commit brings or changes, and what a key must be allowed for. */
  | {
      code: "not-trusted";
      commit: string;
      author: string;
      node: string;
      first: boolean;
      what: string;
      why: SignerFault;
      needs: string;
      /** A forge seems to have made it of a pull request. */
      merged: boolean;
    };

/** What of a server's answer, or of the commit in it, does not hold together. */
export type AnswerFault =
  | "no-packet-lines"
  | "packet-length"
  | "cut-packet"
  | "cut-refs"
  | "other-service"
  | "no-ref-line"
  | "no-shallow"
  | "sha256-ids"
  | "no-pack"
  | "not-a-pack"
  | "cut-pack"
  | "damaged-pack"
  | "no-tree"
  | "unreadable-directory"
  | "no-commit";

/** Why nobody that counts has signed a commit or a tag. `key` names a key as people know it. */
export type SignerFault =
  | { code: "unsigned" }
  | { code: "several-signatures" }
  | { code: "gpg-signature" }
  | { code: "foreign-signature" }
  | { code: "broken-signature" }
  | { code: "key-not-listed"; fingerprint: string }
  | { code: "signature-bad"; key: string }
  /** It is good, and its key may not do this; `node` where that is to approve changes of a node. */
  | { code: "key-not-allowed"; key: string; node?: string };

/** Why a tag that looks like an approval is none. */
export type TagFault =
  | SignerFault
  /** `signed` says whether its replacement has to be. */
  | { code: "lightweight-tag"; signed: boolean }
  | { code: "tag-of-a-tag" }
  | { code: "made-as-another"; name: string };

/** A tag that looks like an approval and is none. */
export interface RefusedTag {
  tag: string;
  why: TagFault;
}

/** What is wrong in a commit's tree. */
export type CommitFault =
  | { code: "no-node-directory"; directory: string; there: readonly string[]; more: number }
  | { code: "no-path"; directory: string }
  | { code: "no-manifests"; shown: string }
  | { code: "no-file"; kind: string; path: string }
  | { code: "file-not-taken"; path: string; message: string };

/** A source that gave nothing. */
export interface UnreadSource {
  code: "unread";
  /** Left out where the fault says what could not be read. */
  location?: string;
  fault: SourceFault;
  /** The same commit is not fetched again by itself. */
  final?: boolean;
}

/** Why the newest inputs are not in force. */
export type SourceTrouble =
  | UnreadSource
  | { code: "build-failed"; message: string }
  | { code: "held"; holds: readonly Hold[] };

/** What a change waits for. */
export type HoldKind =
  /** fleet.toml cannot be read, or is not for this node. */
  | "refused"
  /** Signatures do not allow it. */
  | "trust"
  /** It would remove much: the deletion brake. */
  | "removal"
  | "approval"
  | "freeze"
  | "rollout";

/** What it is about. `revision` is the change that waits. */
export type HoldReason =
  /** What is wrong in fleet.toml, in words. */
  | { code: "said"; message: string }
  /** Its signatures. */
  | UnreadSource
  /** `gone` of the node's `of` services would be removed. */
  | { code: "removes-much"; revision: string; gone: readonly string[]; of: number }
  | {
      code: "not-approved";
      revision: string;
      node: string;
      /** Nothing was in force before. */
      first: boolean;
      /** False where the tag of anybody who may push counts; undefined where no tag was looked for. */
      signed: boolean | undefined;
      refused: readonly RefusedTag[];
    }
  | { code: "frozen"; revision: string; untilMs: number }
  /** Another node has it first, and has not settled on it. */
  | { code: "other-node-first"; revision: string; after: string; verdict: RolloutVerdict | undefined };

/** One cause. */
export interface Hold {
  kind: HoldKind;
  why: HoldReason;
  /** When it ends by itself, in milliseconds since the epoch. */
  untilMs?: number;
}

/** What is known of the node that this one's rollouts wait for. */
export type RolloutVerdict =
  | { kind: "settled" }
  /** Its rollout ended badly. */
  | { kind: "failed"; state: string }
  | { kind: "waiting"; sinceMs: number }
  /** It cannot be told. */
  | { kind: "unknown"; reason: string; retryMs: number };
