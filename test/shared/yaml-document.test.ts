import t from 'tap';
import type { z } from 'zod';
import { AgentConfigSchema } from '../../shared/config.js';
import { GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { parseYaml, YamlDocument } from '../../shared/yaml-document.js';

const FILE = 'a.yaml';

/** What is said of a text that is wrong. */
function complaint(text: string, schema: z.ZodType = AgentConfigSchema): string {
  try {
    parseYaml(text, schema, 'invalid-request', FILE);
  } catch (error) {
    t.match(error, { code: 'invalid-request' });
    return (error as Error).message;
  }
  throw new Error('it was taken');
}

void t.test('what is right comes back as the schema makes it', (t) => {
  const text = 'node: a\nguestMemory: 2GiB # half of it\n';
  t.match(parseYaml(text, AgentConfigSchema, 'invalid-request', FILE), {
    node: 'a',
    guestMemory: 2 * 2 ** 30,
    listen: { unix: null },
  });
  t.end();
});

void t.test('what is wrong is told with line, field, what was found and what is allowed', (t) => {
  t.equal(
    complaint('node: a\n\nlink:\n  # of both\n  pages: tcp\n'),
    `a.yaml:5: link.pages: found 'tcp'; must be one of auto, websocket`,
  );
  t.equal(
    complaint('node: a\nlog: { level: info, colour: true }\n'),
    'a.yaml:2: log.colour: found true; no such field is known, but level',
  );
  t.match(
    complaint('nodes: a\n'),
    /^a\.yaml:1: node: it is missing; .*\na\.yaml:1: nodes: found 'a'; no such field is known, but node, listen, /,
  );
  t.match(
    complaint('node: a\npeers:\n  b: ftp://b\n  c: http://c\n'),
    /^a\.yaml:3: peers\.b: found 'ftp:\/\/b'; must be a URL like /,
  );
  t.match(
    complaint('node: a\nqemu:\n  allow:\n    files:\n      - /srv\n      - ../etc\n'),
    /^a\.yaml:6: qemu\.allow\.files\.1: found '\.\.\/etc'; must be an absolute path/,
  );
  t.match(complaint('node: a\nguestMemory: much\n'), /^a\.yaml:2: guestMemory: found 'much'; .*like 64MiB/);
  t.match(
    complaint('node: a\nlink: { heartbeat: 1min }\n'),
    /^a\.yaml:2: link: found \{"heartbeat":"1min"\}; silence must be at least 2 times heartbeat/,
  );
  t.match(
    complaint('node: a\nlisten: 0.0.0.0:7800\n'),
    /^a\.yaml:2: listen: found '0\.0\.0\.0:7800'; 0\.0\.0\.0 can be reached /,
  );
  t.match(complaint(''), /^a\.yaml:1: the whole of it: found null; must be a list of fields/);
  t.ok(complaint(`node: ${'x'.repeat(1000)}\n`).length < 300, 'not all of what is long');
  t.end();
});

void t.test('definitions of VMs name the fields of all kinds', (t) => {
  const text = 'name: web\nkind: qemu\nmemory: 1GiB\ndisks:\n  - file: /srv/a\n    cached: none\n';
  t.match(
    complaint(text, GuestDefinitionSchema),
    /^a\.yaml:6: disks\.0\.cached: found 'none'; no such field is known, but file, format, interface, cache, /,
  );
  t.match(
    complaint('name: web\nkind: embedded\nmemory: 1MiB\nprogram: idle\ncpus: 2\n', GuestDefinitionSchema),
    /^a\.yaml:5: cpus: found 2; no such field is known, but name, kind, memory, program, parameters, stopAtInstruction$/,
  );
  t.end();
});

void t.test('what is no YAML is told with its place', (t) => {
  const parse = (text: string) => () => new YamlDocument(text, 'invalid-definition', 'x.yaml');
  t.throws(parse('node: a\nlisten: [1\n'), {
    code: 'invalid-definition',
    message: /^x\.yaml:3: it is no YAML: /,
  });
  t.throws(parse('node: a\nnode: b\n'), { message: /^x\.yaml:2: it is no YAML: Map keys must be unique/ });
  t.throws(parse('a: &x [1]\nb: *y\n'), { message: /^x\.yaml: .*alias/ });
  t.end();
});
