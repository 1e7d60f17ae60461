// The C library of this process, for the few calls that Node has no way to make. koffi is loaded when the first is made, not before.

/** Looks up a function of the C library; rejects where the native module cannot be loaded. */
export async function findCFunction<F>(prototype: string): Promise<F> {
  const { default: koffi } = await import("koffi");
  // null names the running program itself, which the C library is part of: no file name to get wrong.
  return koffi.load(null).func(prototype) as F;
}
