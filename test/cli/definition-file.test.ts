import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t from 'tap';
import { readDefinition } from '../../scripts/cli/definition-file.js';

const nothing = Readable.from([]);

await t.test('definitions as people write them', async (t) => {
  const folder = t.testdir({
    'plain.yaml': 'name: web-1\nkind: embedded\nmemory: 64MiB\nprogram: dirty\nparameters: {rate: 10}\n',
    'same.json': '{"name":"web-1","kind":"embedded","memory":67108864,"program":"ticker"}',
    'own.yaml': 'name: own\nkind: embedded\nmemory: 2MiB\nelf: images/own.elf\n',
    images: { 'own.elf': '\u007fELF' },
  });
  t.match(await readDefinition(join(folder, 'plain.yaml'), nothing), {
    definition: {
      name: 'web-1',
      kind: 'embedded',
      memory: 67_108_864,
      program: 'dirty',
      parameters: { rate: 10 },
    },
    image: undefined,
  });
  t.match(await readDefinition(join(folder, 'same.json'), nothing), { definition: { memory: 67_108_864 } });
  const own = await readDefinition(join(folder, 'own.yaml'), nothing);
  t.match(own.definition, { program: 'image' }, 'an ELF file is the program');
  t.equal(Buffer.from(own.image ?? []).toString(), '\u007fELF', 'found beside the definition');
  const piped = await readDefinition(
    '-',
    Readable.from([Buffer.from('name: x\nkind: embedded\n'), Buffer.from('memory: 1MiB\nprogram: idle\n')]),
  );
  t.equal(piped.definition.name, 'x');
});

await t.test('what is wrong is named', async (t) => {
  const folder = t.testdir({ folder: {}, 'my.elf': 'x' });
  const base = 'name: web-1\nkind: embedded\nmemory: 1MiB\n';
  const cases: [string, string, string, RegExp][] = [
    ['no YAML', 'a: [1', 'invalid-definition', /case\.yaml:1: it is no YAML: .*end with a \]/],
    ['a list', '- a', 'invalid-definition', /a list of fields was expected/],
    ['empty', '', 'invalid-definition', /a list of fields was expected/],
    [
      'unknown field',
      `${base}program: idle\ncores: 2\n`,
      'invalid-definition',
      /case\.yaml:5: cores: found 2; no such field is known, but name, kind, memory, program, parameters, stopAtInstruction, elf, image$/,
    ],
    [
      'one deep inside',
      'name: a\nkind: qemu\nmemory: 64MiB\ndisks:\n  - file: /srv/a.img\n  - file: b.img\n    format: vdi\n',
      'invalid-definition',
      /case\.yaml:6: disks\.1\.file: found 'b\.img'; must be an absolute path.*\n.*:7: disks\.1\.format: found 'vdi'; must be one of raw, qcow2$/,
    ],
    [
      'missing',
      'name: a\n\nkind: embedded\nmemory: 1MiB\n',
      'invalid-definition',
      /:1: program: it is missing; /,
    ],
    ['nested too deep', '['.repeat(60_000), 'invalid-definition', /case\.yaml: it is nested too deep/],
    ['too large', '#'.repeat(70_000), 'invalid-definition', /larger than 64\.0 KiB/],
    [
      'too many parameters',
      `${base}program: dirty\nparameters: {${Array.from({ length: 17 }, (_, i) => `p${i}: 1`).join(', ')}}\n`,
      'invalid-definition',
      /:5: parameters: found .*; must be at most 16/,
    ],
    [
      'bad size',
      'name: a\nkind: embedded\nmemory: 1XB\nprogram: idle\n',
      'invalid-definition',
      /:3: memory: found '1XB'; size '1XB'/,
    ],
    [
      'unknown kind',
      'name: a\nkind: xen\n',
      'invalid-definition',
      /:2: kind: found 'xen'; must be one of embedded, qemu$/,
    ],
    [
      'elf and program',
      `${base}program: idle\nelf: my.elf\n`,
      'invalid-definition',
      /case\.yaml:5: elf: found 'my\.elf'; it must be the path of an ELF file, and goes with program 'image'/,
    ],
    ['elf is no path', `${base}elf: 7\n`, 'invalid-definition', /:4: elf: found 7; it must be the path/],
    [
      'two images',
      `${base}elf: my.elf\nimage: my.elf\n`,
      'invalid-definition',
      /:5: image: found 'my\.elf'; give .*not both/,
    ],
    [
      'image missing',
      `${base}program: image\n`,
      'invalid-definition',
      /:4: program: found 'image'; it needs 'elf: PATH'/,
    ],
    [
      'no such image',
      `${base}elf: no.elf\n`,
      'invalid-image',
      /:4: elf: found 'no\.elf'; .*no\.elf: there is no such file/,
    ],
    [
      'image is a folder',
      `${base}elf: folder\n`,
      'invalid-image',
      /:4: elf: found 'folder'; .*it is a directory/,
    ],
    [
      'an image for QEMU',
      'name: a\nkind: qemu\nmemory: 64MiB\nelf: my.elf\n',
      'invalid-definition',
      /:4: elf: found 'my\.elf'; no such field is known, but name, kind, memory, .*, arguments$/,
    ],
  ];
  const file = join(folder, 'case.yaml');
  for (const [what, content, code, message] of cases) {
    await writeFile(file, content);
    await t.rejects(readDefinition(file, nothing), { code, message }, what);
  }
  await t.rejects(readDefinition(join(folder, 'none.yaml'), nothing), {
    code: 'invalid-definition',
    message: /none\.yaml: there is no such file/,
  });
  await writeFile(join(folder, 'my.elf'), Buffer.alloc(16 * 1024 * 1024 + 1));
  await writeFile(file, `${base}elf: my.elf\n`);
  await t.rejects(readDefinition(file, nothing), {
    code: 'invalid-image',
    message: /:4: elf: found 'my\.elf'; .*larger than 16\.0 MiB/,
  });
});
