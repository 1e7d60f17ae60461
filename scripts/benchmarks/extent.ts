// How much a benchmark does: so many rounds, or one short round that only shows that it runs.

/** How much is done. */
export interface Extent {
  rounds: number;
  /** Nothing is measured in earnest: sizes and waits are as small as they go. */
  isSmoke: boolean;
}
