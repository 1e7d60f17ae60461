// What the templates of one service may cost together, and the error of one that costs more. Without the template engine, so
// that who only counts need not load it.

/** What is left of what the templates of one service may do together. */
export interface TemplateBudget {
  operations: number;
}

/** A proxy's template for a fleet of some hundred routes does a tenth of this. */
const MOST_OPERATIONS = 200_000;
/** A template that asks for more than any is given. */
export class TemplateBoundsError extends Error {
  /** True where it was what other templates of the service had left. */
  readonly isBudget: boolean;

  constructor(message: string, isBudget = false) {
    super(message);
    this.name = "TemplateBoundsError";
    this.isBudget = isBudget;
  }
}

/** The budget of one service. */
export function beginTemplateBudget(): TemplateBudget {
  return { operations: MOST_OPERATIONS };
}
