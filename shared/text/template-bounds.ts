// What rendering a template may cost, counted and not timed, so that the same template is taken or refused on any machine: the
// size of its text, its tags, what it does and what it writes. Used by template.ts alone. Pure.

import { type Context, defaultOperators, type Liquid, type Template, toValue, toValueSync } from "liquidjs";

import { type TemplateBudget, TemplateBoundsError } from "./template-budget.ts";

/** An entry of a list is looked at by evaluating an expression. */
const PER_ENTRY = 4;
/** So many steps of a search in a text take about as long as one operation. */
const SEARCHED_AT_ONCE = 10_000;
const LONGEST_TEXT = 64 * 1024;
const LONGEST_TAG = 2_048;
const MOST_SIGNS = 2_000;
const MOST_WRITTEN = 4 * 2 ** 20;
/** For what filters and ranges build, in characters and entries. */
const MOST_MEMORY = 8 * 2 ** 20;

/** Refuses a text whose parsing alone would take long. */
export function checkTemplateText(text: string): void {
  if (text.length > LONGEST_TEXT)
    throw new TemplateBoundsError(
      `it is longer than ${LONGEST_TEXT / 1024} KiB: keep what is not rendered in other files`,
    );
  let signs = 0;
  for (const [mark, end] of MARKS) {
    for (let at = text.indexOf(mark); at !== -1; at = text.indexOf(mark, at + 1)) {
      signs += 1;
      if (end === undefined) continue;
      const close = text.indexOf(end, at);
      if ((close === -1 ? text.length : close) - at > LONGEST_TAG)
        throw new TemplateBoundsError(`it has a tag that is longer than ${LONGEST_TAG} characters: assign its parts`);
    }
  }
  if (signs > MOST_SIGNS)
    throw new TemplateBoundsError(`it has more than ${MOST_SIGNS} outputs, tags and filters: write a loop`);
}

/** What costs time to parse, and how what is written so ends. */
const MARKS: readonly (readonly [mark: string, end: string | undefined])[] = [
  ["{{", "}}"],
  ["{%", "%}"],
  ["|", undefined],
];

type OperatorHandler = (typeof defaultOperators)[string];

/** A template engine whose every loop, filter, search and writing is counted. */
export class BoundedEngine {
  readonly #engine: Liquid;
  /** The count of what is being rendered; operators are told of no context. */
  #current: OperationCount | undefined;

  /** Takes over how the engine renders, filters and searches. */
  constructor(engine: Liquid) {
    this.#engine = engine;
    const { renderer, filters, options } = engine;
    const render = renderer.renderTemplates.bind(renderer);
    // Texts inside tags, such as those of `capture`, are written within the same bounds.
    renderer.renderTemplates = (templates, context, emitter) =>
      render(templates, context, emitter ?? (this.#current && new BoundedEmitter(this.#current)));
    for (const [name, filter] of Object.entries(filters)) filters[name] = this.#count(filter) as typeof filter;
    options.operators = { ...options.operators, ...this.#countOperators() };
  }

  /** Comparing two lists looks at their entries, and `contains` searches. */
  #countOperators(): Record<string, OperatorHandler> {
    const entries = ["==", "!=", "contains"].flatMap((name): [string, OperatorHandler][] => {
      const compare = defaultOperators[name] as ((...parameters: unknown[]) => unknown) | undefined;
      if (compare === undefined) return [];
      const counted = (left: unknown, right: unknown, context: unknown): unknown => {
        this.#current?.charge([left, right]);
        return compare(left, right, context);
      };
      return [[name, counted as OperatorHandler]];
    });
    return Object.fromEntries(entries);
  }

  /** Renders parsed templates within a budget, which is what is left afterwards. */
  render(templates: Template[], open: (limits: object) => Context, budget: TemplateBudget): string {
    const count = new OperationCount(budget);
    const emitter = new BoundedEmitter(count);
    const context = open({ renderLimit: count, memoryLimit: new MemoryCount() });
    this.#current = count;
    try {
      toValueSync(this.#engine.renderer.renderTemplates(templates, context, emitter));
    } finally {
      this.#current = undefined;
    }
    return emitter.buffer;
  }

  #count(filter: unknown): unknown {
    if (typeof filter !== "function") {
      const whole = filter as { handler: unknown };
      return { ...whole, handler: this.#count(whole.handler) };
    }
    const charge = (parameters: readonly unknown[]): void => this.#current?.charge(parameters);
    return function counted(this: unknown, ...parameters: unknown[]): unknown {
      charge(parameters);
      return Reflect.apply(filter, this, parameters);
    };
  }
}

/** What LiquidJS calls its limits by. */
class OperationCount {
  readonly #budget: TemplateBudget;
  #written = 0;

  constructor(budget: TemplateBudget) {
    this.#budget = budget;
  }

  /** LiquidJS asks before every part that it renders, and hands over a time, which is of no interest. */
  check(): void {
    this.#spend(1);
  }

  /** What a filter or a search works on: entries of lists, and for texts how long a search in them may take. */
  charge(parameters: readonly unknown[]): void {
    let entries = 0;
    let [longest, product] = [1, 1];
    for (const parameter of parameters) {
      if (Array.isArray(parameter)) entries += parameter.length;
      else if (typeof parameter === "string") {
        product = Math.max(product, longest * parameter.length);
        longest = Math.max(longest, parameter.length);
      }
    }
    this.#spend(entries * PER_ENTRY + product / SEARCHED_AT_ONCE);
  }

  #spend(operations: number): void {
    this.#budget.operations -= operations;
    if (this.#budget.operations < 0)
      throw new TemplateBoundsError(
        "it does too much: the templates of one service may do 200,000 steps together",
        true,
      );
  }

  write(length: number): void {
    this.#written += length;
    if (this.#written > MOST_WRITTEN) throw new TemplateBoundsError("what it writes is longer than 4 MiB");
  }
}

class MemoryCount {
  #used = 0;

  use(count: unknown): void {
    this.#used += Math.max(0, Number(count) || 0);
    if (this.#used > MOST_MEMORY) throw new TemplateBoundsError("it builds too much on the way to its text");
  }
}

/** Takes what is written, and no more than a file may hold. */
class BoundedEmitter {
  buffer = "";
  readonly #count: OperationCount;

  constructor(count: OperationCount) {
    this.#count = count;
  }

  write(value: unknown): void {
    const text = toText(value);
    this.#count.write(text.length);
    this.buffer += text;
  }
}

function toText(given: unknown): string {
  const value: unknown = toValue(given);
  // Joined, a value is what its own toString says, and one that is none is empty.
  return Array.isArray(value) ? value.map(toText).join("") : [value].join("");
}
