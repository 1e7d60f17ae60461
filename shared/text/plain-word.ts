// The closed character sets of all that goes from a manifest into another program's configuration: a proxy's above all. Asked
// where it is parsed, and again where it is rendered: there a sign too many is a directive of somebody else's. Pure.

/** A host name of a route; `*.` before it means every host below. */
const HOST = /^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
/** The path of a route: no space, quote, bracket, comment, variable or escape of any proxy's language. */
const PATH = /^\/[A-Za-z0-9._~@:+/-]{0,1023}$/;
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const RATE = /^[1-9]\d{0,9}\/(s|m|h)$/;
/** An address or a network; what a zone of IPv6 would add is left out. */
const NETWORK = /^[0-9a-fA-F.:]{1,45}(\/\d{1,3})?$/;
/** `host:port`, IPv6 in brackets. */
const UPSTREAM = /^([a-z0-9.-]{1,253}|\[?[0-9a-fA-F.:]{1,45}\]?):\d{1,5}$/;

const KINDS = { host: HOST, path: PATH, name: NAME, rate: RATE, network: NETWORK, upstream: UPSTREAM } as const;

/** What a word is. */
export type WordKind = keyof typeof KINDS;

/** True where a text holds nothing but the signs of its kind. */
export function isPlainWord(kind: WordKind, text: string): boolean {
  return KINDS[kind].test(text);
}
