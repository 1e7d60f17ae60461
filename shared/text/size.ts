// Sizes as people write them: `512MiB`, `2GiB` are binary, `1GB` is decimal. Holds bytes inside.
// Never rounds when it prints for machines: what `formatSize` writes parses back to the same number.

const UNIT_BYTES = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;
type Unit = keyof typeof UNIT_BYTES;

/** A number, whole or with up to three decimals, and a unit; the pattern is also what `orca schema` shows to editors. */
export const SIZE_PATTERN = /^(0|[1-9]\d{0,15})(\.\d{1,3})?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$/;

/**
 * Parses a size.
 * @param text such as `"512MiB"` (binary), `"1GB"` (decimal) or `"1.5GiB"`
 * @returns bytes, or undefined when the text is no size or does not come to whole bytes
 */
export function parseSize(text: string): number | undefined {
  const match = SIZE_PATTERN.exec(text);
  if (match === null) return undefined;
  // Thousandths of a unit, in whole numbers: 0.1 has no exact double, and a size must come to whole bytes exactly.
  const thousandths = BigInt(`${match[1]}${(match[2] ?? "").slice(1).padEnd(3, "0")}`);
  const scaled = thousandths * BigInt(UNIT_BYTES[match[3] as Unit]);
  const sizeBytes = Number(scaled / 1000n);
  return scaled % 1000n === 0n && Number.isSafeInteger(sizeBytes) ? sizeBytes : undefined;
}

/**
 * Prints a size in the largest unit that divides it (binary before decimal), so that it parses back to the same number.
 * @param sizeBytes whole bytes, 0 or more
 */
export function formatSize(sizeBytes: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB"] as const) {
    if (sizeBytes >= UNIT_BYTES[unit] && sizeBytes % UNIT_BYTES[unit] === 0) {
      return `${sizeBytes / UNIT_BYTES[unit]}${unit}`;
    }
  }
  return `${sizeBytes}B`;
}

/** Prints a size for people, in binary units with three digits: `1.86 GiB`, `512 MiB`, `912 B`. */
export function describeSize(sizeBytes: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"] as const) {
    const count = sizeBytes / UNIT_BYTES[unit];
    if (count >= 1) return `${Number(count.toPrecision(count >= 1000 ? 4 : 3))} ${unit}`;
  }
  return `${Math.trunc(sizeBytes)} B`;
}

/** What to write instead of a text that is no size. */
export function suggestSize(text: string): string {
  if (SIZE_PATTERN.test(text)) return "write a size that comes to whole bytes, below 8192TiB";
  const match = /^(\d{1,16}(?:\.\d{1,3})?)\s*([kmgt]?)(i?)b?(?:ytes?)?$/i.exec(text.trim());
  const letter = (match?.[2] ?? "").toUpperCase();
  if (match !== null && letter !== "") {
    const binary = match[3] !== "" || !/b$/i.test(text.trim());
    const unit = binary ? `${letter}iB` : letter === "K" ? "kB" : `${letter}B`;
    const written = `${match[1]?.replace(/^0+(?=\d)/, "")}${unit}`;
    if (parseSize(written) !== undefined) return `write "${written}"`;
  }
  if (match !== null && letter === "") return `add a unit, for example "${match[1]}MiB"`;
  return 'write a number and a unit: "64MiB", "2GiB" (binary) or "1GB" (decimal)';
}
