import type { AgentService } from '../../agent/api/service.js';
import type {
  ClusterReport,
  ConsoleChunk,
  ConsoleEnd,
  GuestInfo,
  HistoryEntry,
  LinkTestRequest,
  LinkTestResult,
  MigrationEvent,
  MigrationInfo,
  MigrationRequest,
  NodeInfo,
  OutcomeReport,
  PreflightReport,
  QueueEntry,
  ReadinessReport,
  Resolution,
  ResolveRequest,
  StatusReport,
} from '../../shared/api.js';
import type { DoctorReport, PeerReports } from '../../shared/api/doctor.js';
import { MigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { EventLog } from './api-event-log.js';
import {
  consoleChunk,
  guestInfo,
  linkTestResult,
  migrationInfo,
  nodeFacts,
  nodeInfo,
} from './api-samples.js';

/** An agent that moves nothing: it answers what a test has scripted and records what it was asked. */
export class FakeAgentService implements AgentService {
  /** Requests that change something, in order: name of the method and what it was given. */
  readonly calls: unknown[][] = [];
  /** Errors to throw, by name of the method. */
  readonly failures = new Map<string, Error>();
  readonly guestsByName = new Map<string, GuestInfo>([['web-1', guestInfo()]]);
  readonly consoleLog = new EventLog<ConsoleChunk, ConsoleEnd>();
  readonly eventLog = new EventLog<MigrationEvent, null>();
  /** Events after which a stream ends early: one entry for each stream that is opened. */
  readonly streamLimits: number[] = [];
  outcome: OutcomeReport = { vm: 'web-1', open: null };
  queueEntries: QueueEntry[] = [];
  past: HistoryEntry[] = [];
  health: DoctorReport = { node: 'a', ok: true, findings: [], facts: nodeFacts };
  peerReports: PeerReports = { node: 'a', peers: [] };
  readinessReport: ReadinessReport = { ready: true, failing: [], remarks: [] };
  report: PreflightReport = { vm: 'web-1', from: 'a', to: 'b', ok: true, findings: [] };
  current: MigrationInfo = migrationInfo();
  info: NodeInfo = nodeInfo;
  /** Called with each input for the console and with each cancel: where a script reacts. */
  onInput: (data: Uint8Array) => void = () => undefined;
  onCancel: () => void = () => undefined;

  node(): NodeInfo {
    this.#fail('node');
    return this.info;
  }

  status(): StatusReport {
    return { node: this.info, guests: this.guests(), migrations: this.migrations() };
  }

  cluster(): Promise<ClusterReport> {
    const { node } = this.info;
    const nodes = [{ node, url: 'http://127.0.0.1:7800', status: this.status(), error: null }];
    return Promise.resolve({ node, at: '2026-11-22T22:00:00.000Z', nodes, queue: [] });
  }

  async setDrained(drained: boolean): Promise<NodeInfo> {
    await this.#called('setDrained', drained);
    this.info = { ...this.info, drained };
    return this.info;
  }

  queue(): QueueEntry[] {
    return this.queueEntries;
  }

  guests(): GuestInfo[] {
    return [...this.guestsByName.values()];
  }

  guest(name: string): GuestInfo {
    const guest = this.guestsByName.get(name);
    if (guest === undefined) throw new MigrationError('not-found', `VM '${name}' is not defined on node a`);
    return guest;
  }

  async defineGuest(definition: GuestDefinition, image: Uint8Array | undefined): Promise<GuestInfo> {
    await this.#called('defineGuest', definition, image);
    const guest = guestInfo({ name: definition.name, definition, status: 'stopped', writeLog: null });
    this.guestsByName.set(definition.name, guest);
    return guest;
  }

  async undefineGuest(name: string): Promise<void> {
    await this.#called('undefineGuest', name);
    this.guestsByName.delete(this.guest(name).name);
  }

  async startGuest(name: string): Promise<GuestInfo> {
    return await this.#become('startGuest', name, 'running');
  }

  async stopGuest(name: string): Promise<GuestInfo> {
    return await this.#become('stopGuest', name, 'stopped');
  }

  async guestOutcome(name: string): Promise<OutcomeReport> {
    await this.#called('guestOutcome', name);
    return this.outcome;
  }

  async resolveGuest(name: string, request: ResolveRequest): Promise<Resolution> {
    await this.#called('resolveGuest', name, request);
    const here = request.owner === 'a';
    return { vm: name, owner: request.owner, guest: here ? this.guest(name) : null };
  }

  async pauseGuest(name: string): Promise<GuestInfo> {
    return await this.#become('pauseGuest', name, 'paused');
  }

  async resumeGuest(name: string): Promise<GuestInfo> {
    return await this.#become('resumeGuest', name, 'running');
  }

  async adoptGuest(name: string, socket: string): Promise<GuestInfo> {
    await this.#called('adoptGuest', name, socket);
    const guest = guestInfo({ name });
    this.guestsByName.set(name, guest);
    return guest;
  }

  async doctor(): Promise<DoctorReport> {
    await this.#called('doctor');
    return this.health;
  }

  async doctorPeers(): Promise<PeerReports> {
    await this.#called('doctorPeers');
    return this.peerReports;
  }

  readiness(): Promise<ReadinessReport> {
    return Promise.resolve(this.readinessReport);
  }

  metrics(): Promise<string> {
    return Promise.resolve('vmferry_ready 1\n');
  }

  async *console(
    name: string,
    position: number,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ConsoleChunk, ConsoleEnd | null> {
    this.guest(name);
    this.#fail('console');
    if (!follow) {
      yield consoleChunk(Math.max(position, 4), 'hello');
      yield consoleChunk(Math.max(position, 4) + 5, ' world\n');
      return null;
    }
    const source = this.consoleLog.read(0, signal, this.streamLimits.shift());
    try {
      for (;;) {
        const next = await source.next();
        if (next.done === true) return next.value;
        if (next.value.end > position) yield next.value;
      }
    } finally {
      await source.return(null);
    }
  }

  async consoleInput(name: string, data: Uint8Array): Promise<void> {
    this.guest(name);
    await this.#called('consoleInput', name, Buffer.from(data).toString('latin1'));
    this.onInput(data);
  }

  async startMigration(request: MigrationRequest): Promise<MigrationInfo> {
    await this.#called('startMigration', request);
    this.guest(request.vm);
    return this.current;
  }

  async preflight(request: MigrationRequest): Promise<PreflightReport> {
    await this.#called('preflight', request);
    return this.report;
  }

  migrations(): MigrationInfo[] {
    return [this.current];
  }

  migration(id: string): Promise<MigrationInfo> {
    return Promise.resolve().then(() => this.#migration(id));
  }

  history(): HistoryEntry[] {
    return this.past;
  }

  #migration(id: string): MigrationInfo {
    if (id !== this.current.id)
      throw new MigrationError('not-found', `migration '${id}' is not known to node a`);
    return this.current;
  }

  async cancelMigration(id: string): Promise<MigrationInfo> {
    await this.#called('cancelMigration', id);
    const migration = this.#migration(id);
    this.onCancel();
    return migration;
  }

  async testLink(request: LinkTestRequest): Promise<LinkTestResult> {
    await this.#called('testLink', request);
    return linkTestResult();
  }

  limitMigration(id: string, bandwidthBytesPerSecond: number): MigrationInfo {
    this.calls.push(['limitMigration', id, bandwidthBytesPerSecond]);
    return { ...this.#migration(id), bandwidthBytesPerSecond };
  }

  async *migrationEvents(id: string, after: number, signal: AbortSignal): AsyncGenerator<MigrationEvent> {
    await this.#called('migrationEvents', id, after);
    yield* this.eventLog.read(after + 1, signal, this.streamLimits.shift());
  }

  async #become(method: string, name: string, status: GuestInfo['status']): Promise<GuestInfo> {
    await this.#called(method, name);
    const guest = { ...this.guest(name), status };
    this.guestsByName.set(name, guest);
    return guest;
  }

  async #called(...call: [string, ...unknown[]]): Promise<void> {
    // an agent answers later than within the same turn
    await Promise.resolve();
    this.calls.push(call);
    this.#fail(call[0]);
  }

  #fail(method: string): void {
    const failure = this.failures.get(method);
    if (failure !== undefined) throw failure;
  }
}
