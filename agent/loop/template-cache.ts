// Templates rendered before, and those that could not be, by their content: a turn that changes nothing renders nothing, and a
// template that costs much costs it once. Nothing with a secret's value in it is kept. Used by the builder of desired state.

import { canonicalJson, sha256 } from "../../shared/state/identity.ts";
import type { Templates } from "../../shared/text/template.ts";
import { type TemplateBudget, TemplateBoundsError } from "../../shared/text/template-budget.ts";

/** What came of one template, and what it cost. */
type Outcome =
  | { kind: "done"; value: unknown; operations: number }
  | { kind: "failed"; error: Error }
  /** It wanted more than was left. */
  | { kind: "unaffordable"; error: Error; operations: number };

/** The template engine with a memory of two buildings. */
export class TemplateCache implements Templates {
  readonly #templates: Templates;
  #known = new Map<string, Outcome>();
  #used = new Map<string, Outcome>();

  constructor(templates: Templates) {
    this.#templates = templates;
  }

  beginBudget(): TemplateBudget {
    return this.#templates.beginBudget();
  }

  listSecrets(text: string): ReturnType<Templates["listSecrets"]> {
    const key = sha256(`secrets\n${text}`);
    return this.#find(key, this.beginBudget(), () => this.#templates.listSecrets(text));
  }

  outline(
    text: string,
    context: object,
    names: readonly string[],
    budget: TemplateBudget = this.beginBudget(),
  ): ReturnType<Templates["outline"]> {
    const key = sha256(`outline\n${canonicalJson([text, context, names])}`);
    return this.#find(key, budget, () => this.#templates.outline(text, context, names, budget));
  }

  render(
    text: string,
    context: object,
    secrets: ReadonlyMap<string, string> = new Map(),
    budget: TemplateBudget = this.beginBudget(),
  ): string {
    if (secrets.size > 0) return this.#templates.render(text, context, secrets, budget);
    const key = sha256(`render\n${canonicalJson([text, context])}`);
    return this.#find(key, budget, () => this.#templates.render(text, context, secrets, budget));
  }

  /** Forgets what was not asked for since the last call. */
  sweep(): void {
    this.#known = this.#used;
    this.#used = new Map();
  }

  /** Whether it was known or not, the budget is charged the same, so that a verdict never hangs on what came before. */
  #find<T>(key: string, budget: TemplateBudget, make: () => T): T {
    const known = this.#used.get(key) ?? this.#known.get(key);
    const isOld = known === undefined || (known.kind === "unaffordable" && budget.operations > known.operations);
    const outcome = isOld ? this.#make(budget, make) : known;
    this.#used.set(key, outcome);
    if (outcome.kind !== "done") throw outcome.error;
    if (isOld) return outcome.value as T;
    if (budget.operations >= outcome.operations) {
      budget.operations -= outcome.operations;
      return outcome.value as T;
    }
    return make();
  }

  #make<T>(budget: TemplateBudget, make: () => T): Outcome {
    const before = budget.operations;
    try {
      return { kind: "done", value: make(), operations: before - budget.operations };
    } catch (error) {
      const known = error instanceof Error ? error : new Error(String(error));
      const isBudget = known instanceof TemplateBoundsError && known.isBudget;
      return isBudget ? { kind: "unaffordable", error: known, operations: before } : { kind: "failed", error: known };
    }
  }
}
