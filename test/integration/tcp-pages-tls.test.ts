import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { LinkServer } from '../../agent/link/link-server.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { PageOffers } from '../../agent/source/page-offers.js';
import { MigrationError, type ErrorBody } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { MIGRATION } from '../support/link-endpoints.js';

/** Page streams over TLS, with a certificate that is made for the test: what an agent behind https would do. */

const run = promisify(execFile);
const DIAL = fileURLToPath(new URL('../support/tls-page-dial.js', import.meta.url));
const PAGES = 1000;

const directory = await mkdtemp(join(tmpdir(), 'vmferry-tls-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));
const key = join(directory, 'key.pem');
const certificate = join(directory, 'certificate.pem');
await run('openssl', [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
  ...['-subj', '/CN=vmferry test', '-addext', 'subjectAltName=IP:127.0.0.1'],
  ...['-keyout', key, '-out', certificate],
]);
const server = createServer({ key: await readFile(key), cert: await readFile(certificate) });
const offers = new PageOffers();
const link = new LinkServer({
  // The same events; only the sockets differ.
  server: server,
  node: 'node-a',
  agent: 'test agent',
  onControl: () => undefined,
  authorizePages: () => {
    throw new MigrationError('not-found', 'none here');
  },
  authorizePageStream: (id, stream, token, peer) => offers.authorize(id, stream, token, peer),
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
t.teardown(async () => {
  await link.close();
  server.closeAllConnections();
  server.close();
});
const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;

interface Outcome {
  readonly placed?: number;
  readonly digest?: string;
  readonly error?: ErrorBody;
}

async function dial(token: string, trusted: boolean): Promise<Outcome> {
  const env = { ...process.env, ...(trusted && { NODE_EXTRA_CA_CERTS: certificate }) };
  const { stdout } = await run(process.execPath, [DIAL, url, MIGRATION, token, String(PAGES)], { env });
  return JSON.parse(stdout) as Outcome;
}

/** Resolves once so many connections are there. */
async function connections(count: number): Promise<void> {
  while (link.connections !== count) await new Promise((resolve) => setImmediate(resolve));
}

await t.test('pages arrive byte for byte', async (t) => {
  const offer = offers.offer(MIGRATION, 1, 'node-b');
  const memory = randomBytes(PAGES * PAGE_SIZE);
  const outcome = dial(offer.token, true);
  await connections(1);
  const sender = new StreamedPageSender(offer.take(), { peer: 'node-b' });
  await sender.sendPages({ region: 0, firstPage: 0, pageCount: 900 }, memory.subarray(0, 900 * PAGE_SIZE));
  for (let page = 900; page < PAGES; page += 1) {
    const data = memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    await sender.sendPages({ region: 0, firstPage: page, pageCount: 1 }, data);
  }
  await sender.sendRoundEnd(0);
  sender.close();
  t.match(await outcome, { digest: createHash('sha256').update(memory).digest('hex') });
  t.ok((await outcome).placed! > 0, 'also those that are read in place');
  await connections(0);
});

await t.test('a refusal is told, and a certificate that is not trusted', async (t) => {
  t.match(await dial('wrong', true), { error: { code: 'not-found' } });
  t.match(await dial('wrong', false), {
    error: { code: 'peer-unreachable', message: /cannot be reached at https:.*self-signed certificate/ },
  });
});

await t.test('a stream that is ended with an error, in the middle of a frame', async (t) => {
  const offer = offers.offer(MIGRATION, 1, 'node-b');
  const outcome = dial(offer.token, true);
  await connections(1);
  const [connection] = offer.take();
  await connection!.send(new Uint8Array(10));
  connection!.close(errorToCloseCode('guest-failed'), 'the guest failed');
  t.match(await outcome, { error: { code: 'link-lost' } });
  await connections(0);
});
