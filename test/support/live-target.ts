import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { DefinitionFiles } from '../../agent/guest/definition-files.js';
import { openGuests } from '../../agent/guest/open-guests.js';
import { OwnershipJournal } from '../../agent/journal/ownership-journal.js';
import { PAGE_STREAM_PROTOCOL } from '../../agent/link/link-paths.js';
import { NodeLock } from '../../agent/lock/node-lock.js';
import { IncomingMigrations } from '../../agent/target/incoming-migrations.js';
import { LaneThreads } from '../../agent/target/lane-threads.js';
import type { Timers } from '../../shared/timers.js';
import { arrayGuestKinds, type HostedArrayGuest } from './hosted-array-guest.js';
import { startEndpoint } from './link-endpoints.js';

/** With what a source takes a page stream that the target opens. */
export const UPGRADED = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${PAGE_STREAM_PROTOCOL}\r\n\r\n`;

/**
 * The receiving half of an agent, node-b, on a real port: the product's server, handshake, lock, sessions, threads and journal, with
 * guests whose memory a test can look at. Where it opens page streams it finds a raw socket.
 */
export async function startLiveTarget(options: {
  onMake?: (guest: HostedArrayGuest) => void;
  graceMs?: number;
  timers?: Pick<Timers, 'after'>;
}) {
  const { timers, onMake, graceMs = 1 } = options;
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-target-'));
  const logger = pino({ level: 'silent' });
  const made = arrayGuestKinds(onMake);
  const lock = new NodeLock({ node: 'node-b', graceMs, ...(timers && { timers }) });
  const journal = await OwnershipJournal.open(join(directory, 'journal'));
  const { store, incoming: guests } = await openGuests({
    ...{ node: 'node-b', kinds: made.kinds, logger, memoryLimitBytes: 2 ** 30, journal },
    files: new DefinitionFiles(join(directory, 'guests')),
  });
  const threads = new LaneThreads(4);

  const source = {
    /** Takes what the target has dialled, its request unread. */
    dialled: (socket: Socket): void => void socket.destroy(),
    sockets: new Set<Socket>(),
  };
  const { sockets } = source;
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined).on('close', () => sockets.delete(socket)));
    source.dialled(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const incoming = new IncomingMigrations({
    ...{ node: 'node-b', guests, lock, journal, logger, ...(timers && { timers }) },
    scratchMemory: () => Promise.reject(new Error('there is none')),
    streamsFrom: () => ({ url, tls: null, threads }),
  });
  const endpoint = await startEndpoint({
    onControl: (control, handshake) => incoming.accept(control, handshake),
    authorizePages: (...shown) => incoming.authorizePages(...shown),
  });
  return {
    ...{ lock, journal, guests: store, made: made.guests, incoming, source, endpoint, url: endpoint.url },
    async close(): Promise<void> {
      await endpoint.stop();
      await incoming.close();
      await threads.close();
      lock.close();
      for (const socket of sockets) socket.destroy();
      server.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
