// This machine's architecture, by Debian's name: that of packages.

const NAMES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** Node's own name where Orca has no package for it. */
export function findDebianArch(): string {
  return NAMES[process.arch] ?? process.arch;
}
