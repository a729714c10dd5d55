import t from 'tap';
import { AgentConfigSchema } from '../../shared/config.js';
import { GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { YamlFile } from '../../shared/yaml-file.js';

const WHAT = 'the configuration a.yaml';

/** What is said of a text that is wrong. */
function complaint(text: string, schema: Parameters<YamlFile['check']>[0] = AgentConfigSchema): string {
  try {
    new YamlFile(text, 'invalid-request', WHAT).check(schema);
  } catch (error) {
    t.match(error, { code: 'invalid-request' });
    return (error as Error).message.replace(`${WHAT} is not valid: `, '');
  }
  throw new Error('it was taken');
}

void t.test('what is right comes back as the schema makes it', (t) => {
  const file = new YamlFile('node: a\nguestMemory: 2GiB # half of it\n', 'invalid-request', WHAT);
  t.match(file.check(AgentConfigSchema), { node: 'a', guestMemory: 2 * 2 ** 30, listen: { unix: null } });
  t.end();
});

void t.test('what is wrong is told with line, field, what was found and what is allowed', (t) => {
  t.equal(
    complaint('node: a\n\nlink:\n  # of both\n  pages: tcp\n'),
    'line 5: link.pages: Invalid option: expected one of "auto"|"websocket" (found: "tcp")',
  );
  t.equal(
    complaint('node: a\nlog: { level: info, colour: true }\n'),
    'line 2: there is no field log.colour (known: level)',
  );
  t.match(
    complaint('nodes: a\n'),
    /line 1: node is missing: .*; line 1: there is no field nodes \(known: node, listen, /,
  );
  t.match(
    complaint('node: a\npeers:\n  b: ftp://b\n  c: http://c\n'),
    /^line 3: peers\.b: must be a URL like .* \(found: "ftp:\/\/b"\)$/,
  );
  t.match(
    complaint('node: a\nqemu:\n  allow:\n    files:\n      - /srv\n      - ../etc\n'),
    /^line 6: qemu\.allow\.files\.1: must be an absolute path .* \(found: "\.\.\/etc"\)$/,
  );
  t.match(
    complaint('node: a\nguestMemory: much\n'),
    /^line 2: guestMemory: size 'much' .*like 64MiB.*\(found: "much"\)$/,
  );
  t.match(
    complaint('node: a\nlink: { heartbeat: 1min }\n'),
    /^line 2: link: silence must be at least 2 times heartbeat/,
  );
  t.match(
    complaint('node: a\nlisten: 0.0.0.0:7800\n'),
    /^line 2: listen: 0\.0\.0\.0 can be reached .*\(found: "0\.0\.0\.0:7800"\)$/,
  );
  t.match(complaint(''), /expected object.*found: null/);
  t.ok(complaint(`node: ${'x'.repeat(1000)}\n`).length < 300, 'not all of what is long');
  t.end();
});

void t.test('definitions of VMs name the fields of all kinds', (t) => {
  const text = 'name: web\nkind: qemu\nmemory: 1GiB\ndisks:\n  - file: /srv/a\n    cached: none\n';
  t.match(
    complaint(text, GuestDefinitionSchema),
    /^line 6: there is no field disks\.0\.cached \(known: file, format, interface, cache, /,
  );
  t.match(
    complaint('name: web\nkind: embedded\nmemory: 1MiB\nprogram: idle\ncpus: 2\n', GuestDefinitionSchema),
    /^line 5: there is no field cpus \(known: name, kind, memory, program, parameters, stopAtInstruction\)$/,
  );
  t.end();
});

void t.test('what is no YAML is told with its place', (t) => {
  const parse = (text: string) => () => new YamlFile(text, 'invalid-definition', 'x.yaml');
  t.throws(parse('node: a\nlisten: [1\n'), {
    code: 'invalid-definition',
    message: /^x\.yaml is no YAML: line 3, column 1: /,
  });
  t.throws(parse('node: a\nnode: b\n'), { message: /line 2, column 1: Map keys must be unique/ });
  t.throws(parse('a: &x [1]\nb: *y\n'), { message: /^x\.yaml is no YAML: .*y/ });
  t.end();
});
