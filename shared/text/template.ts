// Templates of config files: LiquidJS with own properties only, no file access, bounded in what it does and writes. Loaded only
// where a manifest has `template = true`. Values of secrets pass through here on their way into a file, and nowhere else.

import { Context, Liquid } from "liquidjs";

import { BoundedEngine, checkTemplateText } from "./template-bounds.ts";
import { beginTemplateBudget, type TemplateBudget, TemplateBoundsError } from "./template-budget.ts";
import { guardFilters, HeldSecret, type SecretMark, UnsafeSecret } from "../secret/template-secret.ts";

/** A secret as a template names it. */
export interface SecretUse {
  /** Undefined where it cannot be told before the template is rendered, as in `secrets[node]`. */
  name: string | undefined;
  line: number;
  column: number;
}

/** A template rendered without any value. */
interface TemplateOutline {
  /** The text with a mark in place of each value. */
  text: string;
  /** True where a value decides what else is in the file, so that the text alone does not tell what it depends on. */
  decides: boolean;
}

/** The template engine, as those who must not load it are given it. */
export interface Templates {
  /** What the templates of one service may cost together. */
  beginBudget(): TemplateBudget;
  /** Every secret that a template names. Throws where it does not parse. */
  listSecrets(text: string): readonly SecretUse[];
  /** Renders it with marks in place of values, by their names; throws an error with line and column where it cannot. */
  outline(text: string, context: object, names: readonly string[], budget?: TemplateBudget): TemplateOutline;
  /** Renders it; `secrets` are values by name. Throws an error with line and column where it cannot. */
  render(text: string, context: object, secrets?: ReadonlyMap<string, string>, budget?: TemplateBudget): string;
}

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
});
guardFilters(engine.filters);
const bounded = new BoundedEngine(engine);

/** What a template calls them by. */
const ROOT = "secrets";
/** What no text of people holds. */
const MARK = "\u0001";

/** A variable or filter that does not exist is an error, never an empty text. */
export const templates: Templates = {
  beginBudget: beginTemplateBudget,
  listSecrets: (text) => {
    checkTemplateText(text);
    // Nearly every template has none, and looking closely costs as much as rendering.
    if (!text.includes(ROOT)) return [];
    const found = engine.analyzeSync(engine.parse(text)).globals[ROOT] ?? [];
    return found.map(({ segments, location }) => {
      const [, name] = segments;
      const isPlain = segments.length === 2 && typeof name === "string";
      return { name: isPlain ? name : undefined, line: location.row, column: location.col };
    });
  },
  outline: (text, context, names, budget = beginTemplateBudget()) => {
    const mark: SecretMark = { decides: false };
    const held = names.map((name) => [name, new HeldSecret(name, `${MARK}${name}${MARK}`, mark)] as const);
    return { text: render({ text, context, held }, budget), decides: mark.decides };
  },
  render: (text, context, secrets = new Map(), budget = beginTemplateBudget()) => {
    if (secrets.size === 0) return render({ text, context, held: [] }, budget);
    const held = [...secrets].map(([name, value]) => [name, new HeldSecret(name, value)] as const);
    let failure: string;
    try {
      return render({ text, context, held }, budget);
    } catch (error) {
      failure = describeFailure(error);
    }
    // Not what LiquidJS has thrown, not even as a cause: it may quote what it worked on.
    throw new Error(failure);
  },
};

function describeFailure(error: unknown): string {
  const said = error instanceof Error ? error.message : "";
  const place = /line:(\d+), col:(\d+)$/.exec(said);
  const where = place === null ? "" : ` (line ${place[1]}, column ${place[2]})`;
  const unsafe =
    findUnsafe(error)?.message ?? findBounds(error)?.message ?? "it does not render with the values of its secrets";
  return `${unsafe}${where}`;
}

function findUnsafe(error: unknown): UnsafeSecret | undefined {
  for (let at = error; at instanceof Error; at = (at as { originalError?: unknown }).originalError)
    if (at instanceof UnsafeSecret) return at;
  return undefined;
}

interface Rendering {
  text: string;
  context: object;
  held: readonly (readonly [string, HeldSecret])[];
}

function render({ text, context, held }: Rendering, budget: TemplateBudget): string {
  checkTemplateText(text);
  const whole = held.length === 0 ? context : { ...context, [ROOT]: Object.fromEntries(held) };
  const parsed = engine.parse(text);
  const open = (limits: object): Context =>
    new Context(whole, engine.options, { sync: true }, { ...limits, liquid: engine });
  try {
    return bounded.render(parsed, open, budget);
  } catch (error) {
    // LiquidJS wraps what was thrown inside: who caches must know that it was the budget, and people what it was.
    throw findBounds(error) ?? error;
  }
}

function findBounds(error: unknown): TemplateBoundsError | undefined {
  for (let at = error; at instanceof Error; at = (at as { originalError?: unknown }).originalError)
    if (at instanceof TemplateBoundsError) return at;
  return undefined;
}
