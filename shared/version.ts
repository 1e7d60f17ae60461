// The version of this agent; the test suite compares it with package.json. Which build of it runs is written in by scripts/bundle.ts.

/** The commit that a bundle was made from; nothing defines it in a checkout. */
declare const ORCA_BUILD: string | undefined;

export const VERSION = "0.1.0";

/** Version and build, as `orca --version` prints them: "0.1.0 (1a2b3c4d5e6f)". */
export const VERSION_LINE = `${VERSION} (${typeof ORCA_BUILD === "string" ? ORCA_BUILD : "a checkout"})`;
