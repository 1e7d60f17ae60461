// Templates of config files: LiquidJS with own properties only, no file access, bounded in time and size. Loaded only
// where a manifest has `template = true`.

import { Liquid } from "liquidjs";

/** Renders one template; throws an error with line and column where it cannot. */
export type RenderTemplate = (text: string, context: object) => string;

const LARGEST_BYTES = 4 * 2 ** 20;
const LONGEST_MS = 1_000;

const noFiles = {
  existsSync: () => false,
  exists: async () => false,
  readFileSync: () => refuseFiles(),
  readFile: async () => refuseFiles(),
  resolve: (_root: string, file: string) => file,
};

function refuseFiles(): never {
  throw new Error("a template reads no other file");
}

const engine = new Liquid({
  ownPropertyOnly: true,
  strictFilters: true,
  strictVariables: true,
  fs: noFiles,
  relativeReference: false,
  parseLimit: LARGEST_BYTES,
  renderLimit: LONGEST_MS,
  memoryLimit: LARGEST_BYTES * 4,
});

/** Renders a template with LiquidJS; a variable or filter that does not exist is an error, never an empty text. */
export const renderTemplate: RenderTemplate = (text, context) => engine.parseAndRenderSync(text, context) as string;
