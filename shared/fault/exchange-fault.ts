// Why an exchange over HTTP came to nothing, as a code with its facts. Made by agent/http/exchange.ts; who asks adds where it was and
// which key says so, and shared/text/words/exchange-words.ts words it. Nothing that the server sent is in it but where it redirects to.

/** What happened. */
export type ExchangeFault =
  | { kind: "late"; deadlineMs: number }
  /** Nobody waits for it any more. */
  | { kind: "ended" }
  | { kind: "network"; code: string }
  | { kind: "redirects-in-circles" }
  | { kind: "redirect-nowhere"; status: number }
  | { kind: "redirect-elsewhere"; target: string }
  /** It would make a GET of a POST. */
  | { kind: "redirect-of-post"; status: number }
  /** It is packed in a way that nobody asked for. */
  | { kind: "encoded"; encoding: string }
  | { kind: "too-large"; limitBytes: number; announcedBytes: number | undefined };

/** All but what was larger than asked for, which who asks words itself. */
export type UnansweredFault = Exclude<ExchangeFault, { kind: "too-large" }>;

/** What the words depend on. */
export interface ExchangePlace {
  host: string;
  /** Who is asked there: `Git`. */
  who: string;
  /** The key of agent.toml that names the server: `source.git.url`. */
  urlKey: string;
  /** What to do about a redirect to another origin: `correct source.git.url`. */
  redirectHint: string;
  /** The key that names its CA, and the file it names. */
  caKey: string;
  caFile: string | undefined;
}
