import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { makeCertificates } from '../../scripts/lab/lab-certificates.js';
import { credentialsOf } from '../support/certificates.js';
import { LinkServer } from '../../agent/link/link-server.js';
import { streamDecoder } from '../../agent/link/page-receiver.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { certifiedPeer } from '../../agent/link/peer-identity.js';
import { dialTcpPages } from '../../agent/link/tcp-pages.js';
import { PageOffers } from '../../agent/source/page-offers.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { secureContext } from '../../shared/tls/credentials.js';
import { MIGRATION } from '../support/link-endpoints.js';
import { RecordingSink } from '../support/link-sink.js';

/** Page streams over TLS: whose certificate opens them, and that all of their bytes come, also into memory. */

const PAGES = 1000;
const directory = await mkdtemp(join(tmpdir(), 'vmferry-tls-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));
await makeCertificates(directory, '--node', 'node-a', '--node', 'node-b', '--node', 'node-c');
const server = createServer({
  ...secureContext(credentialsOf(directory, 'node-a')),
  ...{ requestCert: true, rejectUnauthorized: false },
});
const offers = new PageOffers();
const link = new LinkServer({
  // The same events; only the sockets differ.
  server: server,
  node: 'node-a',
  agent: 'test agent',
  certifiedPeer: (socket) => certifiedPeer(socket, new Set(['node-b', 'node-c'])),
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

class Placing extends RecordingSink {
  placed = 0;
  readonly memory: Uint8Array;

  constructor(memory: Uint8Array) {
    super([memory]);
    this.memory = memory;
  }

  place(_stream: number, _region: number, offset: number, bytes: number): Uint8Array {
    this.placed += 1;
    return this.memory.subarray(offset, offset + bytes);
  }
}

/** Dials as `node`, expecting `source`; resolves with what arrived when the stream ends in good order. */
async function dial(token: string, node = 'node-b', source = 'node-a'): Promise<Placing> {
  const sink = new Placing(new Uint8Array(new SharedArrayBuffer(PAGES * PAGE_SIZE)));
  await new Promise((resolve, reject) => {
    dialTcpPages({
      ...{ url, peer: 'node node-a', migrationId: MIGRATION, stream: 0, token },
      tls: { credentials: credentialsOf(directory, node), node: source },
      intake: streamDecoder(0, sink),
      onEnd: (error: MigrationError | null) => (error === null ? resolve(null) : reject(error)),
    }).catch(reject);
  });
  return sink;
}

/** Resolves once so many connections are there. */
async function connections(count: number): Promise<void> {
  while (link.connections !== count) await new Promise((resolve) => setImmediate(resolve));
}

await t.test('pages arrive byte for byte', async (t) => {
  const offer = offers.offer(MIGRATION, 1, 'node-b');
  const memory = randomBytes(PAGES * PAGE_SIZE);
  const outcome = dial(offer.token);
  await connections(1);
  const sender = new StreamedPageSender(offer.take(), { peer: 'node-b' });
  await sender.sendPages({ region: 0, firstPage: 0, pageCount: 900 }, memory.subarray(0, 900 * PAGE_SIZE));
  for (let page = 900; page < PAGES; page += 1) {
    const data = memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    await sender.sendPages({ region: 0, firstPage: page, pageCount: 1 }, data);
  }
  await sender.sendRoundEnd(0);
  sender.close();
  const arrived = await outcome;
  t.ok(memory.equals(arrived.memory));
  t.ok(arrived.placed > 0, 'also those that are read in place');
  await connections(0);
});

await t.test('the node of the migration alone may open one, with its token', async (t) => {
  const offer = offers.offer(MIGRATION, 1, 'node-b');
  const notFound = { code: 'not-found', message: /offers pages for that token/ };
  await t.rejects(dial(offer.token, 'node-c'), notFound, 'the right token of another peer');
  await t.rejects(dial('wrong'), notFound);
  await t.rejects(dial(offer.token, 'node-b', 'node-c'), {
    code: 'wrong-node',
    message: /'node node-a' that answers where node node-c was meant/,
  });
  offer.withdraw();
});

await t.test('a stream that is ended with an error, in the middle of a frame', async (t) => {
  const offer = offers.offer(MIGRATION, 1, 'node-b');
  const outcome = dial(offer.token);
  await connections(1);
  const [connection] = offer.take();
  await connection!.send(new Uint8Array(10));
  connection!.close(errorToCloseCode('guest-failed'), 'the guest failed');
  await t.rejects(outcome, { code: 'link-lost' });
  await connections(0);
});
