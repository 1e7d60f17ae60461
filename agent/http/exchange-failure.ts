// Why an exchange came to nothing: what happened as a code with its facts, and the words that say what to do about it. Nothing that
// the server sent is quoted but where it redirects to. Made by exchange.ts; who asks adds where it was and which key says so.

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

/** An exchange that came to nothing. */
export class ExchangeFailure extends Error {
  readonly fault: ExchangeFault;

  constructor(fault: ExchangeFault, cause?: Error) {
    super(`exchange: ${fault.kind === "network" ? fault.code : fault.kind}`, cause === undefined ? {} : { cause });
    this.fault = fault;
  }
}

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

/** Says what an exchange came to, and what to do about it. */
export function describeFault(fault: Exclude<ExchangeFault, { kind: "too-large" }>, place: ExchangePlace): string {
  const { host, urlKey } = place;
  switch (fault.kind) {
    case "late":
      return `${host} gave no whole answer within ${fault.deadlineMs / 1_000} s`;
    case "ended":
      return "the agent ends";
    case "network":
      return describeNetwork(fault.code, place);
    case "redirects-in-circles":
      return `${host} redirects in circles: check ${urlKey}`;
    case "redirect-nowhere":
      return `${host} redirects (${fault.status}) without saying where to`;
    case "redirect-elsewhere":
      return `${host} redirects to ${fault.target}, another origin, where the token does not go: ${place.redirectHint}`;
    case "redirect-of-post":
      return `${host} redirects a request of ${place.who} (${fault.status}): check ${urlKey}`;
    default:
      return `${host} packs its answer (${fault.encoding.slice(0, 40)}), which was not asked for: check what is between`;
  }
}

const CERTIFICATE =
  /^(CERT_|ERR_TLS_CERT|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|HOSTNAME_MISMATCH)/;

/** Says what is wrong with a server's certificate; undefined for what is no error of a certificate. */
export function describeCertificate(
  code: string,
  { host, urlKey, caKey, caFile }: Pick<ExchangePlace, "host" | "urlKey" | "caKey" | "caFile">,
): string | undefined {
  if (!CERTIFICATE.test(code)) return undefined;
  if (code === "CERT_HAS_EXPIRED") return `the certificate of ${host} has run out (${code}): renew it`;
  if (code.startsWith("ERR_TLS_CERT") || code === "HOSTNAME_MISMATCH")
    return `the certificate of ${host} is for another name (${code}): check ${urlKey}`;
  const why = caFile === undefined ? `name its CA's certificate in ${caKey}` : `it is not from ${caFile}`;
  return `the certificate of ${host} is not trusted (${code}): ${why}`;
}

/** Says what an error of the network means. */
export function describeNetwork(code: string, place: ExchangePlace): string {
  const { host, urlKey } = place;
  if (code.startsWith("HPE_")) return `${host} does not speak HTTP there (${code}): check ${urlKey}`;
  const certificate = describeCertificate(code, place);
  if (certificate !== undefined) return certificate;
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the name ${host} cannot be looked up (${code}): check DNS and ${urlKey}`;
    case "ECONNREFUSED":
      return `nothing listens at ${host} (${code})`;
    case "ECONNRESET":
    case "EPIPE":
      return `the connection to ${host} was cut before the answer was whole (${code})`;
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
      return `${host} cannot be reached (${code}): check the network`;
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return `${host} does not speak TLS there (${code}): check ${urlKey}`;
    default:
      return `the connection to ${host} failed (${code})`;
  }
}
