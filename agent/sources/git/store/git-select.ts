// Which manifests of other nodes matter to one node: those that its own require, step by step (for cycles), and where it
// renders templates those with routes. A fleet may have 20,000 manifests, and an agent holds what it needs. Pure but for
// the reading, which is an argument.

/** Reads manifests of other nodes. */
export interface ManifestReader {
  /** Every node that has a directory. */
  nodes: readonly string[];
  /** One manifest, or undefined where there is none. */
  readOne(node: string, service: string): Promise<string | undefined>;
  /** Those of a node's manifests whose text speaks of routes: service → text. */
  readRouted(node: string): Promise<ReadonlyMap<string, string>>;
}

/** One manifest by place. */
export interface PlacedText {
  node: string;
  service: string;
  text: string;
}

const REFERENCE = /(?<![\w./-])([a-z0-9][a-z0-9-]*)\/([a-z0-9][a-z0-9-]*)(?![\w./:-])/g;
const LOCAL_NAME = /["']([a-z0-9][a-z0-9-]*)["']/g;

/** True for a manifest that may be read by proxies of other nodes. */
export function speaksOfRoutes(text: string): boolean {
  return text.includes("routes");
}

/** Selects what a node needs besides its own manifests. What it finds may be more than is needed, never less. */
export async function selectOthers(own: PlacedText[], reader: ManifestReader): Promise<PlacedText[]> {
  const chosen = new Map<string, PlacedText>();
  const node = own[0]?.node;
  const queue = [...own];
  const seen = new Set(own.map((entry) => `${entry.node}/${entry.service}`));
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const [place, service] of listReferences(next, reader.nodes)) {
      const name = `${place}/${service}`;
      if (seen.has(name) || place === node) continue;
      seen.add(name);
      const text = await reader.readOne(place, service);
      if (text === undefined) continue;
      chosen.set(name, { node: place, service, text });
      queue.push({ node: place, service, text });
    }
  }
  if (own.some(({ text }) => text.includes("template"))) {
    for (const place of reader.nodes) {
      if (place === node) continue;
      for (const [service, text] of await reader.readRouted(place))
        chosen.set(`${place}/${service}`, { node: place, service, text });
    }
  }
  return [...chosen.values()];
}

/** Every `node/service` in a text, and on another node every name in quotes, which may be a service beside it. */
function listReferences({ node, text }: PlacedText, nodes: readonly string[]): [node: string, service: string][] {
  const known = new Set(nodes);
  const remote = [...text.matchAll(REFERENCE)].flatMap(([, place = "", service = ""]): [string, string][] =>
    known.has(place) ? [[place, service]] : [],
  );
  const local = [...text.matchAll(LOCAL_NAME)].map(([, service = ""]): [string, string] => [node, service]);
  return [...remote, ...local];
}
