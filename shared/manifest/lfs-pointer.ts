// Tells a Git LFS pointer from a file: a short text that stands in a commit in place of the file, which is kept elsewhere. Pure;
// whoever delivers or parses a file of a repository asks, so that no container is given a pointer.

const FIRST_LINE = /^version https:\/\/(?:git-lfs|hawser)\.github\.com\/spec\/v\d+\r?\n/;
const OID_LINE = /^oid \w+:[0-9a-f]{32,}\r?$/m;
/** The specification's bound. */
const LARGEST_BYTES = 1_024;

/** True for the pointer of a file that Git LFS keeps. */
export function isLfsPointer(content: Uint8Array | string): boolean {
  if (content.length >= LARGEST_BYTES) return false;
  const text = typeof content === "string" ? content : Buffer.from(content).toString("latin1");
  return FIRST_LINE.test(text) && OID_LINE.test(text);
}

/** What is wrong with a pointer, and what to do. */
export const LFS_POINTER = {
  message: "is a Git LFS pointer and not the file itself",
  hint: "Git LFS is not read: commit the file itself (git lfs untrack, then git add --renormalize), or keep it in an image or a volume",
};
