// Secrets in templates, as lint sees them: every name has a place in the manifest, and nothing else is asked for.

import { expect, it } from "vitest";

import { lintFiles, lintShort, service } from "../../builders/git/repository.ts";

const FILES = '[[files]]\nsource = "files/t"\ntarget = "/etc/t"\ntemplate = true\n';

function repository(template: string, secrets: string): Record<string, string> {
  return { "manifests/vm-a/app.toml": service("", `${secrets}\n${FILES}`), "manifests/vm-a/files/t": template };
}

it("names of all three tables are known, and need no value to be judged", async () => {
  const secrets =
    '[secrets.templates]\nSMTP = "/prod/smtp"\n[secrets.files]\n"db.password" = "/prod/db"\n[secrets.env]\nTOKEN = "/prod/token"';
  const template = '{{ secrets.SMTP }} {{ secrets["db.password"] | json }} {% if secrets.TOKEN == "x" %}x{% endif %}';
  expect(await lintShort(repository(template, secrets))).toEqual([]);
});

it.each([
  [
    "a\n  {{ secrets.SMPT }}",
    "2:6",
    'for app: the manifest names no secret "SMPT"',
    'add it under [secrets.templates]: SMPT = "/path/of/the/secret"',
  ],
  [
    '{{ secrets["a.b"] }}',
    "1:4",
    'for app: the manifest names no secret "a.b"',
    'add it under [secrets.templates]: "a.b" = "/path/of/the/secret"',
  ],
  [
    "{{ secrets[node] }}",
    "1:4",
    "for app: a template names each secret by itself",
    'write {{ secrets.NAME }} or {{ secrets["name"] }}',
  ],
  [
    "{{ secrets.TWO }}",
    "1:4",
    "for app: secrets.TWO is one secret in [secrets.files] and another in [secrets.env]",
    'say which is meant under [secrets.templates]: TWO = "/prod/a"',
  ],
])("%s is refused with its place and what to write", async (template, place, message, hint) => {
  const secrets = '[secrets.files]\nTWO = "/prod/a"\n[secrets.env]\nTWO = "/prod/b"';
  const problems = (await lintFiles(repository(template, secrets))).filter(({ severity }) => severity === "error");
  const [line, column] = place.split(":").map(Number);
  const file = "orca/manifests/vm-a/files/t";
  expect(problems).toMatchObject([{ code: "template-secret", file, line, column, message, hint }]);
});

it("an entry for templates that none uses is said", async () => {
  expect(await lintShort(repository("no secrets here", '[secrets.templates]\nSMTP = "/prod/smtp"'))).toEqual([
    "warning template-secret vm-a/app:5:1 secrets.templates.SMTP",
  ]);
});

it("a value is no name: something else than a path is refused", async () => {
  const found = await lintShort(repository("{{ secrets.SMTP }}", '[secrets.templates]\nSMTP = "hunter2-and-more"'));
  expect(found).toEqual([expect.stringMatching(/^error \S+ vm-a\/app:5:\d+ secrets\.templates\.SMTP$/)]);
});
