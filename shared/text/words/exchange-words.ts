// What an exchange over HTTP came to, in words that say what to do about it. Pure; the only place where such a sentence is made.

import type { ExchangePlace, UnansweredFault } from "../../fault/exchange-fault.ts";

type Words = {
  [K in UnansweredFault["kind"]]: (fault: Extract<UnansweredFault, { kind: K }>, place: ExchangePlace) => string;
};

const EXCHANGE_WORDS: Words = {
  late: ({ deadlineMs }, { host }) => `${host} gave no whole answer within ${deadlineMs / 1_000} s`,
  ended: () => "the agent ends",
  network: ({ code }, place) => describeNetwork(code, place),
  "redirects-in-circles": (_, { host, urlKey }) => `${host} redirects in circles: check ${urlKey}`,
  "redirect-nowhere": ({ status }, { host }) => `${host} redirects (${status}) without saying where to`,
  "redirect-elsewhere": ({ target }, { host, redirectHint }) =>
    `${host} redirects to ${target}, another origin, where the token does not go: ${redirectHint}`,
  "redirect-of-post": ({ status }, { host, who, urlKey }) =>
    `${host} redirects a request of ${who} (${status}): check ${urlKey}`,
  encoded: ({ encoding }, { host }) =>
    `${host} packs its answer (${encoding.slice(0, 40)}), which was not asked for: check what is between`,
};

/** Says what an exchange came to, and what to do about it. */
export function describeExchange(fault: UnansweredFault, place: ExchangePlace): string {
  return (EXCHANGE_WORDS[fault.kind] as (fault: UnansweredFault, place: ExchangePlace) => string)(fault, place);
}

/** True for what this version can word: another version's process may have made it. */
export function canDescribeExchange(fault: { kind?: string } | undefined): boolean {
  return fault?.kind !== undefined && Object.hasOwn(EXCHANGE_WORDS, fault.kind);
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
