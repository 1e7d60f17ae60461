// Every form in which a program might write a value down, for tests that look for it where it must not be. Made here on its
// own, so that what the redactor overlooks is found.

/** The value as it is, its marked lines, and both in JSON, a URL, base64 and hex. */
export function listForms(value: string): string[] {
  const lines = [value, ...value.split("\n").filter((line) => line.includes("canary"))];
  return lines.flatMap((text) => [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    Buffer.from(text).toString("base64").replaceAll("=", ""),
    Buffer.from(text).toString("hex"),
  ]);
}
