import { Gauge, type Registry } from 'prom-client';
import type { GuestInfo, GuestStatus, NodeInfo, QueueEntry } from '../../shared/api.js';
import type { Decision, JournalEntry } from '../journal/ownership-journal.js';

/** What a node is when it is scraped. */
export interface NodeState {
  readonly node: NodeInfo;
  readonly guests: readonly GuestInfo[];
  readonly queue: readonly QueueEntry[];
  readonly journal: readonly JournalEntry[];
  /** Open connections. */
  readonly connections: { readonly api: number; readonly link: number };
  /** Null without TLS. */
  readonly certificateExpiresAt: Date | null;
  readonly ready: boolean;
}

const KINDS: readonly GuestInfo['kind'][] = ['embedded', 'qemu'];

const STATUSES: readonly GuestStatus[] = [
  'stopped',
  'running',
  'paused',
  'finished',
  'incoming',
  'unknown',
  'stray',
];

const DECISIONS: readonly Decision[] = ['commit-sent', 'committed', 'aborted', 'released', 'taken-back'];

/** What can be read off the node at any time. Each combination of labels is there from the start, with 0. */
export class NodeGauges {
  readonly #info;
  readonly #protocol;
  readonly #ready;
  readonly #drained;
  readonly #guests;
  readonly #failedGuests;
  readonly #writeLogs;
  readonly #memoryUsed;
  readonly #memoryLimit;
  readonly #queue;
  readonly #peers;
  readonly #connections;
  readonly #journal;
  readonly #certificate;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#info = new Gauge({
      ...{ name: 'vmferry_build_info', registers, labelNames: ['node', 'version', 'nodejs'] },
      help: 'Always 1: the id of the node, the versions of its agent and of Node.js.',
    });
    this.#protocol = new Gauge({
      ...{ name: 'vmferry_protocol_version', registers, labelNames: ['bound'] },
      help: "Oldest ('min') and newest ('max') version of the protocol that the agent speaks with its peers.",
    });
    this.#ready = new Gauge({
      ...{ name: 'vmferry_ready', registers },
      help: '1 if the agent takes part in migrations, as /readyz says, else 0.',
    });
    this.#drained = new Gauge({
      ...{ name: 'vmferry_drained', registers },
      help: '1 if the node takes no VMs, by the word of its operator, else 0.',
    });
    this.#guests = new Gauge({
      ...{ name: 'vmferry_guests', registers, labelNames: ['kind', 'status'] },
      help: 'VMs of the node, by kind and status.',
    });
    this.#failedGuests = new Gauge({
      ...{ name: 'vmferry_guests_failed', registers },
      help: "VMs of the node that can't go on or are not as their operator wanted them: 'vmferry vm show' says why.",
    });
    this.#writeLogs = new Gauge({
      ...{ name: 'vmferry_guest_write_logs', registers, labelNames: ['write_log'] },
      help: 'VMs of the node that are started, by the write-log that follows them in a migration.',
    });
    this.#memoryUsed = new Gauge({
      ...{ name: 'vmferry_guest_memory_used_bytes', registers },
      help: 'Memory of all VMs that are started or coming.',
    });
    this.#memoryLimit = new Gauge({
      ...{ name: 'vmferry_guest_memory_limit_bytes', registers },
      help: "Most memory of all VMs together: 'guestMemory' in the configuration.",
    });
    this.#queue = new Gauge({
      ...{ name: 'vmferry_queue_migrations', registers, labelNames: ['state'] },
      help: "Migrations in this node's queue, from here and to here: 'running' has the node, the others are 'waiting'.",
    });
    this.#peers = new Gauge({
      ...{ name: 'vmferry_peers', registers },
      help: 'Other nodes in the configuration.',
    });
    this.#connections = new Gauge({
      ...{ name: 'vmferry_connections', registers, labelNames: ['type'] },
      help: "Open connections to the agent's port: 'api', or 'link' for control connections and page streams of peers.",
    });
    this.#journal = new Gauge({
      ...{ name: 'vmferry_journal_entries', registers, labelNames: ['decision'] },
      help: 'Entries of the ownership journal, by decision.',
    });
    this.#certificate = new Gauge({
      ...{ name: 'vmferry_certificate_expiry_timestamp_seconds', registers },
      help: "When the node's certificate expires, Unix time. Absent without TLS.",
    });
    // It would be there with 0, which is a time.
    this.#certificate.reset();
    this.#certificate.remove();
  }

  update(state: NodeState): void {
    const { node, guests, queue, journal, connections, certificateExpiresAt, ready } = state;
    this.#info.set({ node: node.node, version: node.version, nodejs: process.version }, 1);
    this.#protocol.set({ bound: 'min' }, node.protocol.min);
    this.#protocol.set({ bound: 'max' }, node.protocol.max);
    this.#ready.set(Number(ready));
    this.#drained.set(Number(node.drained));
    for (const kind of KINDS) {
      const ofKind = guests.filter((guest) => guest.kind === kind);
      for (const status of STATUSES) {
        this.#guests.set({ kind, status }, ofKind.filter((guest) => guest.status === status).length);
      }
    }
    this.#failedGuests.set(guests.filter(({ failure }) => failure !== null).length);
    this.#writeLogs.reset();
    for (const { writeLog } of guests) if (writeLog) this.#writeLogs.inc({ write_log: writeLog.kind });
    this.#memoryUsed.set(node.memoryUsedBytes);
    this.#memoryLimit.set(node.memoryLimitBytes);
    for (const which of ['running', 'waiting'] as const) {
      this.#queue.set({ state: which }, queue.filter(({ state }) => state === which).length);
    }
    this.#peers.set(node.peers.length);
    this.#connections.set({ type: 'api' }, connections.api);
    this.#connections.set({ type: 'link' }, connections.link);
    for (const decision of DECISIONS) {
      this.#journal.set({ decision }, journal.filter((entry) => entry.decision === decision).length);
    }
    if (certificateExpiresAt) this.#certificate.set(certificateExpiresAt.getTime() / 1000);
  }
}
