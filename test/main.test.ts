import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runAgent } from '../agent/main.js';
import { certificateFiles, makeCertificates } from '../scripts/lab/lab-certificates.js';
import type { ErrorCode } from '../shared/errors.js';
import type { TlsFiles } from '../shared/tls/credentials.js';
import { makeFutureCertificate } from './support/certificates.js';

/** What an agent says of a configuration with which it does not start: which line, which field, what it found there. */

// Each run of an agent listens for what it has failed to handle, for good.
process.setMaxListeners(50);

const directory = await mkdtemp(join(tmpdir(), 'vmferry-main-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));
const file = join(directory, 'agent.yaml');
const state = `stateDirectory: ${directory}/state\n`;

/** `code`: wrong-state where it may yet start with that configuration, which systemd tries again. */
async function complaint(t: Tap, text: string, code: ErrorCode = 'wrong-state'): Promise<string> {
  await writeFile(file, text);
  let message = 'it started';
  await t.rejects(
    runAgent(file).catch((error: Error) => {
      ({ message } = error);
      throw error;
    }),
    { code },
  );
  const before = `${file}:`;
  t.equal(message.slice(0, before.length), before, 'the file is named');
  return message.slice(before.length);
}

type Tap = typeof t;

void t.test('files of TLS', async (t) => {
  const pki = join(directory, 'pki');
  const foreign = join(directory, 'foreign');
  await makeCertificates(pki, '--node', 'a', '--node', 'b');
  await makeCertificates(foreign, '--node', 'a');
  await makeFutureCertificate(pki, 'a', join(directory, 'future'));
  const right = certificateFiles(pki, 'a');
  const told = (more: Partial<TlsFiles>) => {
    const { certificate, key, ca } = { ...right, ...more };
    return complaint(
      t as Tap,
      `node: a\nlisten: 127.0.0.1:0\n${state}tls:\n  certificate: ${certificate}\n  key: ${key}\n  ca: ${ca}\n`,
    );
  };
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const [more, message] of [
    [
      { certificate: '/nowhere/a.pem' },
      /^5: tls\.certificate: found '\/nowhere\/a\.pem'; .*ENOENT.*; correct the path/,
    ],
    [
      { certificate: right.key },
      /^5: tls\.certificate: found .*; .* has no certificate in PEM; name a file that/,
    ],
    [
      { certificate: join(directory, 'future', 'a.pem') },
      /^5: tls\.certificate: .* not valid before .*; set this host's/,
    ],
    [
      certificateFiles(pki, 'b'),
      /^5: tls\.certificate: .* is that of node b, and this is node a: give one with/,
    ],
    [
      { key: certificateFiles(pki, 'b').key },
      /^6: tls\.key: .* does not belong to the certificate .*; give the key of/,
    ],
    [{ key: '/dev/null' }, /^6: tls\.key: found '\/dev\/null'; .* no regular file; name a file$/],
    [{ key: pipe }, /^6: tls\.key: .* no regular file; name a file$/],
    [{ ca: '/nowhere/ca.pem' }, /^7: tls\.ca: found '\/nowhere\/ca\.pem'; .*; correct the path/],
    [
      { ca: certificateFiles(foreign, 'a').ca },
      /^5: tls\.certificate: .* was not issued by .*foreign.*; take those that/,
    ],
  ] as const) {
    t.match(await told(more), message);
  }
});

void t.test('the file of tokens', async (t) => {
  const tokens = join(directory, 'tokens');
  const told = () => complaint(t as Tap, `node: a\nlisten: 127.0.0.1:0\n${state}tokens: ${tokens}\n`);
  t.match(await told(), /^4: tokens: found '.*tokens'; .*ENOENT/);
  for (const [content, reason] of [
    ['', /must be a list/],
    ['- {name: a, role: boss, sha256: "00"}\n', /0\.role: must be one of read, operate/],
    ['- [', /is no YAML: write what 'vmferry token create' prints/],
  ] as const) {
    await writeFile(tokens, content);
    const message = await told();
    t.match(message, /^4: tokens: found/);
    t.match(message, reason);
  }
  await rm(tokens);
});

void t.test('directories and addresses', async (t) => {
  const told = (text: string, code?: ErrorCode) => complaint(t as Tap, `node: a\n${text}`, code);
  t.match(
    await told('listen: 127.0.0.1:0\nstateDirectory: /proc/x\n'),
    /^3: stateDirectory: found '\/proc\/x'; the state directory \/proc\/x can't be made: .*; correct the path, or name/,
  );
  t.match(
    await told(`listen: 127.0.0.1:0\n${state}runDirectory: /dev/null\n`),
    /^4: runDirectory: found '\/dev\/null'; .* no directory is there; move that away/,
  );
  t.match(
    await told(`${state}listen: unix:${directory}/none/deeper/agent.sock\n`),
    /^3: listen: found 'unix:.*\/none\/deeper\/agent\.sock'; .*ENOENT.*; make its directory, or choose another path/,
  );
  t.match(
    await told('peers:\n  b: http://b\n  a: http://a\n', 'invalid-request'),
    /^4: peers\.a: found 'http:\/\/a'; that is this node itself/,
  );
});
