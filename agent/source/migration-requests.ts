import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import {
  type LinkTestRequest,
  type LinkTestResult,
  type MigrationInfo,
  type MigrationOptions,
  MigrationOptionsSchema,
  type MigrationRequest,
  type PreflightReport,
} from '../../shared/api.js';
import type { AgentConfig } from '../../shared/config.js';
import { MigrationError, refusalError, toMigrationError } from '../../shared/errors.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatBytes } from '../../shared/units.js';
import { validate } from '../../shared/validate.js';
import type { NodeAddress } from '../node-address.js';
import type { MoveReport } from '../guest/hosted-guest.js';
import { type ScratchMemory, scratchMemory } from '../guest/scratch-memory.js';
import type { VmTable } from '../guest/vm-table.js';
import { holdPair } from './hold-pair.js';
import { testLink } from './link-test.js';
import type { OutgoingContext, OutgoingMigration } from './outgoing-migration.js';
import type { OutgoingMigrations } from './outgoing-migrations.js';
import { streamsToOpen } from './stream-choice.js';
import type { WaitingRequest } from './waiting-requests.js';

export interface MigrationRequestsContext {
  readonly config: AgentConfig;
  readonly outgoing: OutgoingMigrations;
  readonly migrations: OutgoingContext;
  /** What guests leave of the node's memory. */
  readonly memory: Pick<VmTable, 'memoryFreeBytes'>;
  /** Where the agent of a node is; undefined if the configuration does not say. */
  readonly address: (node: string) => NodeAddress | undefined;
  /** Ends what is asked of other nodes, for the end of the agent: its reason is then why nothing new is begun. */
  readonly signal: AbortSignal;
}

/** What clients ask for that involves another node: checked here, on both sides, before it is begun. */
export class MigrationRequests {
  readonly #context: MigrationRequestsContext;

  constructor(context: MigrationRequestsContext) {
    this.#context = context;
  }

  /** Begins a migration, which then waits for its nodes. Throws what speaks against it; nothing is begun then. */
  async start(request: MigrationRequest): Promise<MigrationInfo> {
    const { outgoing, migrations, signal } = this.#context;
    const { guests, waiting } = migrations;
    signal.throwIfAborted();
    outgoing.checkRoom();
    const requestedAt = Date.now();
    const { vm, priority = 0, wait = true } = request;
    const target = this.#target(request.to);
    const { definition } = guests.check(vm);
    const id = newMigrationId();
    // From here on nobody else can have the guest, also while the target is asked.
    guests.begin(vm, id);
    try {
      const options = this.#options(request);
      const { findings, traits } = await this.#findings(id, target, request);
      const refusal = findings.find(({ level }) => level === 'refusal');
      if (refusal) throw refusalError(refusal);
      if (wait) await waiting.add({ id, vm, to: target.node, options, requestedAt, priority });
      signal.throwIfAborted();
      const place = { requestedAt, priority, wait, returning: false };
      return outgoing.start({ id, definition, target, traits, options, ...place }).info();
    } catch (error) {
      migrations.observer.refused(toMigrationError(error));
      await waiting.remove(id);
      await guests.end(vm, null);
      throw error;
    }
  }

  /** Takes up the migrations that waited when the agent ended, at their places. One that can't go on ends as failed. */
  async restore(): Promise<void> {
    const { waiting, logger } = this.#context.migrations;
    for (const request of await waiting.load()) {
      const { id: migration, vm } = request;
      try {
        await this.#restore(request);
        logger.info({ migration, vm }, 'a migration waits on: it was asked for before the agent started');
      } catch (thrown) {
        this.#context.outgoing.fail(request, toMigrationError(thrown));
        await waiting.remove(migration);
      }
    }
  }

  async #restore({ id, vm, to, options, requestedAt, priority }: WaitingRequest): Promise<OutgoingMigration> {
    const { outgoing, migrations } = this.#context;
    const { guests } = migrations;
    const target = this.#target(to);
    const { definition } = guests.check(vm);
    guests.begin(vm, id);
    try {
      // The target is asked when it is its turn: it may be starting just as this node does.
      const { findings, traits } = await guests.preflight(vm);
      const refusal = findings.find(({ level }) => level === 'refusal');
      if (refusal) throw refusalError(refusal);
      const place = { requestedAt, priority, wait: true, returning: true };
      return outgoing.start({ id, definition, target, traits, options, ...place });
    } catch (error) {
      await guests.end(vm, null);
      throw error;
    }
  }

  /** Preflight on both sides; changes nothing. */
  async preflight(request: MigrationRequest): Promise<PreflightReport> {
    const { config, migrations } = this.#context;
    const findings: PreflightFinding[] = [];
    try {
      const target = this.#target(request.to);
      migrations.guests.check(request.vm);
      this.#options(request);
      findings.push(...(await this.#findings(newMigrationId(), target, request)).findings);
    } catch (thrown) {
      const { code, message } = toMigrationError(thrown);
      findings.push({ level: 'refusal', code, message });
    }
    const ok = findings.every(({ level }) => level !== 'refusal');
    return { vm: request.vm, from: config.node, to: request.to, ok, findings };
  }

  /** Measures the link to another node, in its turn among the migrations; ends early with `given`. */
  async testLink(request: LinkTestRequest, given: AbortSignal): Promise<LinkTestResult> {
    const { config, migrations } = this.#context;
    this.#context.signal.throwIfAborted();
    const to = this.#target(request.to);
    const signal = AbortSignal.any([given, this.#context.signal]);
    const held = await holdPair(migrations, {
      migration: newMigrationId(),
      vm: 'link-test',
      to,
      requestedAt: Date.now(),
      ...(request.wait !== undefined && { wait: request.wait }),
      signal,
    });
    return await testLink(
      {
        ...migrations,
        ...held,
        from: config.node,
        to,
        scratchMemory: (wanted) => this.scratchMemory(wanted),
      },
      request,
      signal,
    );
  }

  /** Memory for a link test, as long as guests leave room for it. Throws target-out-of-memory. */
  async scratchMemory({ memory, bytes }: Pick<LinkTestRequest, 'memory' | 'bytes'>): Promise<ScratchMemory> {
    const { config, memory: ofNode } = this.#context;
    if (bytes > ofNode.memoryFreeBytes) {
      const text = `node ${config.node} has no ${formatBytes(bytes)} of guest memory free for a link test`;
      throw new MigrationError('target-out-of-memory', text);
    }
    return await scratchMemory(memory, bytes, config.qemu.memoryDirectory);
  }

  #target(node: string): NodeAddress {
    const { config, address } = this.#context;
    if (node === config.node) {
      throw new MigrationError('same-node', `node ${node} is this node: name another one as the target`);
    }
    const found = address(node);
    if (found) return found;
    const known = Object.keys(config.peers).join(', ');
    throw new MigrationError(
      'unknown-node',
      `node ${node} is not known here: add it to 'peers' in the configuration of node ${config.node}` +
        (known === '' ? '' : ` (known: ${known})`),
    );
  }

  #options({ options }: MigrationRequest): MigrationOptions {
    const { maxDowntime, bandwidth, maxTime, ...same } = this.#context.config.migration;
    const defaults = {
      ...same,
      ...(maxDowntime !== undefined && { maxDowntimeMs: maxDowntime }),
      ...(bandwidth !== undefined && { bandwidthBytesPerSecond: bandwidth }),
      ...(maxTime !== undefined && { maxTotalMs: maxTime }),
    };
    const what = 'the migration request';
    return validate(MigrationOptionsSchema, { ...defaults, ...options }, 'invalid-request', what);
  }

  /** What both sides say about moving that guest; the target is asked only where this side has nothing against it. */
  async #findings(id: string, target: NodeAddress, request: MigrationRequest): Promise<MoveReport> {
    const { guests, dialer } = this.#context.migrations;
    const { verify, streams: wanted } = this.#options(request);
    const streams = streamsToOpen(wanted, availableParallelism());
    const { findings, traits } = await guests.preflight(request.vm);
    if (findings.some(({ level }) => level === 'refusal')) return { findings, traits };
    const { definition, imageBytes, regions } = guests.outline(request.vm);
    const prepare = { type: 'prepare', definition, imageBytes, regions, traits, streams, verify } as const;
    const theirs = await dialer.preflight(target, id, prepare, this.#context.signal);
    return { findings: [...findings, ...theirs], traits };
  }
}

function newMigrationId(): string {
  return `m-${randomBytes(6).toString('hex')}`;
}
