import type { EventSourceMessage } from 'eventsource-parser';
import type {
  AccessReport,
  ClusterReport,
  ConsoleChunk,
  ConsoleEnd,
  ErrorAnswer,
  GuestInfo,
  HistoryEntry,
  LinkTestResult,
  LinkTestSchema,
  MigrationEvent,
  MigrationInfo,
  OutcomeReport,
  PreflightReport,
  QueueEntry,
  ReadinessReport,
  Resolution,
  ResolveRequest,
  StatusReport,
  MigrationRequest,
  NodeInfo,
} from '../shared/api.js';
import type { DoctorReport, PeerReports } from '../shared/api/doctor.js';
import { errorFromBody, MigrationError } from '../shared/errors.js';
import type { GuestDefinition } from '../shared/guest-definition.js';
import type { z } from 'zod';
import { type AccessOptions, type AgentConnection, connectionTo } from './agent-connection.js';
import { readEventStream } from './event-stream.js';
import { isUnknownIssuer, tlsReason } from '../shared/tls/tls-reason.js';

/** Failures of fetch() before the request was sent: by the code of its cause. */
const NOT_CONNECTED = new Map([
  ['ECONNREFUSED', 'the connection is refused'],
  ['ENOENT', 'there is no such socket'],
  ['EACCES', 'only the user of the agent may use that socket'],
  ['ENOTFOUND', 'the host is not known'],
  ['EAI_AGAIN', 'the host name could not be looked up'],
  ['EHOSTUNREACH', 'the host cannot be reached'],
  ['ENETUNREACH', 'the network cannot be reached'],
  ['ETIMEDOUT', 'the connection timed out'],
  ['UND_ERR_CONNECT_TIMEOUT', 'the connection timed out'],
]);

/** Where files of one's own are needed, and none was named: as by who asked over a unix socket and is told of another agent. */
const NO_CA =
  'you named no CA by which its certificate could be checked: give --ca, and --certificate and --key with what proves who you are ' +
  '(or VMFERRY_CA, VMFERRY_CERTIFICATE, VMFERRY_KEY)';

/** What fetch() throws where the signal that it was given fires. */
const GIVEN_UP: ReadonlySet<string> = new Set(['AbortError', 'TimeoutError']);

/**
 * One agent's HTTP API, typed: a method for each operation of the OpenAPI document, but for what is not made for programs like this one
 * (`/metrics`, `/healthz`, the document itself). Every failure is a MigrationError: the agent's own; peer-unreachable if no connection
 * could be made (nothing was asked of it then); link-lost if the connection broke, with what it was asked left open; timeout or cancelled if
 * the caller's own signal fired.
 *
 * Answers are not held against their schemas: a later agent may have more fields, phases and codes than this client knows (OPERATIONS.md,
 * "From scripts"), and each caller knows best what it can do without. Tests hold agents to them.
 */
export class AgentClient {
  /** Without a slash at the end. */
  readonly url: string;
  readonly #access: AccessOptions;
  readonly #connection: AgentConnection;

  /** `url`: http://, https:// or unix:/PATH. */
  constructor(url: string, access: AccessOptions = {}) {
    this.url = url.replace(/\/+$/, '');
    this.#access = access;
    this.#connection = connectionTo(this.url, access);
  }

  /** Another agent, asked as this one. */
  other(url: string): AgentClient {
    return new AgentClient(url, this.#access);
  }

  async status(signal?: AbortSignal): Promise<StatusReport> {
    return await this.#json<StatusReport>('GET', '/v1/status', undefined, signal);
  }

  /** Whom the agent takes this client for. */
  async access(): Promise<AccessReport> {
    return await this.#json<AccessReport>('GET', '/v1/access');
  }

  /** Whether the node can take part in migrations now. */
  async readiness(): Promise<ReadinessReport> {
    const response = await this.#send('/readyz', {});
    const answer = (await this.#parsed(response)) as Partial<ReadinessReport & ErrorAnswer> | null;
    if (typeof answer?.ready === 'boolean') return answer as ReadinessReport;
    throw errorFromBody(answer?.error);
  }

  async queue(): Promise<QueueEntry[]> {
    return await this.#json<QueueEntry[]>('GET', '/v1/queue');
  }

  /** All nodes that the agent knows, and the queues of all of them as one. `fresh`: as they are now, else up to a second ago. */
  async cluster(fresh = false, signal?: AbortSignal): Promise<ClusterReport> {
    const path = `/v1/cluster${fresh ? '?fresh=true' : ''}`;
    return await this.#json<ClusterReport>('GET', path, undefined, signal);
  }

  /** Whether VMs may come to the node, from now on. */
  async setDrained(drained: boolean): Promise<NodeInfo> {
    return await this.#json<NodeInfo>('PUT', '/v1/drained', { drained });
  }

  async node(signal?: AbortSignal): Promise<NodeInfo> {
    return await this.#json<NodeInfo>('GET', '/v1/node', undefined, signal);
  }

  async doctor(signal?: AbortSignal): Promise<DoctorReport> {
    return await this.#json<DoctorReport>('GET', '/v1/doctor', undefined, signal);
  }

  /** What the agent finds of the other nodes. */
  async doctorPeers(signal?: AbortSignal): Promise<PeerReports> {
    return await this.#json<PeerReports>('GET', '/v1/doctor/peers', undefined, signal);
  }

  async adoptGuest(name: string, qmp: string): Promise<GuestInfo> {
    return await this.#json<GuestInfo>('POST', `${guestPath(name)}/adopt`, { qmp });
  }

  async guests(): Promise<GuestInfo[]> {
    return await this.#json<GuestInfo[]>('GET', '/v1/guests');
  }

  async guest(name: string): Promise<GuestInfo> {
    return await this.#json<GuestInfo>('GET', guestPath(name));
  }

  async defineGuest(definition: GuestDefinition, image: Uint8Array | undefined): Promise<GuestInfo> {
    const encoded = image === undefined ? {} : { image: Buffer.from(image).toString('base64') };
    return await this.#json<GuestInfo>('POST', '/v1/guests', { definition, ...encoded });
  }

  async undefineGuest(name: string): Promise<void> {
    await this.#request('DELETE', guestPath(name));
  }

  async changeGuest(name: string, action: 'start' | 'stop' | 'pause' | 'resume'): Promise<GuestInfo> {
    return await this.#json<GuestInfo>('POST', `${guestPath(name)}/${action}`);
  }

  async guestOutcome(name: string): Promise<OutcomeReport> {
    return await this.#json<OutcomeReport>('GET', `${guestPath(name)}/outcome`);
  }

  async resolveGuest(name: string, request: ResolveRequest): Promise<Resolution> {
    return await this.#json<Resolution>('POST', `${guestPath(name)}/resolve`, request);
  }

  /** What the console has kept from `position` on, up to what has been printed by now; an agent tells it in pieces. */
  async readConsole(name: string, position: number): Promise<ConsoleChunk> {
    const piece = (from: number) =>
      this.#json<ConsoleChunk>('GET', `${guestPath(name)}/console?position=${from}`);
    const { consoleBytes } = await this.guest(name);
    const first = await piece(position);
    const texts = [first.text];
    let { end } = first;
    while (end < consoleBytes && texts.at(-1) !== '') {
      const next = await piece(end);
      // What was dropped meanwhile would be a gap that no position shows.
      if (next.position !== end) break;
      texts.push(next.text);
      end = next.end;
    }
    return { position: first.position, end, text: texts.join('') };
  }

  /** The console from `position` on, as it is printed. Returns how it ended; null if the stream just ended. */
  async *followConsole(
    name: string,
    position: number,
    signal: AbortSignal,
  ): AsyncGenerator<ConsoleChunk, ConsoleEnd | null> {
    const path = `${guestPath(name)}/console?follow=true&position=${position}`;
    for await (const { event, data } of this.#stream(path, {}, signal)) {
      if (event === 'chunk') yield JSON.parse(data) as ConsoleChunk;
      if (event === 'end') return JSON.parse(data) as ConsoleEnd;
    }
    return null;
  }

  async sendConsoleInput(name: string, data: Uint8Array): Promise<void> {
    await this.#request('POST', `${guestPath(name)}/console`, { data: Buffer.from(data).toString('base64') });
  }

  async startMigration(request: MigrationRequest): Promise<MigrationInfo> {
    return await this.#json<MigrationInfo>('POST', '/v1/migrations', request);
  }

  async testLink(request: z.input<typeof LinkTestSchema>): Promise<LinkTestResult> {
    return await this.#json<LinkTestResult>('POST', '/v1/link-tests', request);
  }

  async preflight(request: MigrationRequest): Promise<PreflightReport> {
    return await this.#json<PreflightReport>('POST', '/v1/preflight', request);
  }

  /** Those that run or wait, and those that ended lately, the latest first. */
  async migrations(): Promise<MigrationInfo[]> {
    return await this.#json<MigrationInfo[]>('GET', '/v1/migrations');
  }

  /** Also of one that ended long ago. */
  async migration(id: string, signal?: AbortSignal): Promise<MigrationInfo> {
    const path = `/v1/migrations/${encodeURIComponent(id)}`;
    return await this.#json<MigrationInfo>('GET', path, undefined, signal);
  }

  /** Migrations from there that have ended, the last one first. */
  async history(): Promise<HistoryEntry[]> {
    return await this.#json<HistoryEntry[]>('GET', '/v1/history');
  }

  async cancelMigration(id: string): Promise<MigrationInfo> {
    return await this.#json<MigrationInfo>('POST', `/v1/migrations/${encodeURIComponent(id)}/cancel`);
  }

  async limitMigration(id: string, bandwidthBytesPerSecond: number): Promise<MigrationInfo> {
    const change = { bandwidthBytesPerSecond };
    return await this.#json<MigrationInfo>('PATCH', `/v1/migrations/${encodeURIComponent(id)}`, change);
  }

  /** Events with seq > `after`, those that are past first. */
  async *migrationEvents(id: string, after: number, signal: AbortSignal): AsyncGenerator<MigrationEvent> {
    const headers = after < 0 ? {} : { 'last-event-id': String(after) };
    const path = `/v1/migrations/${encodeURIComponent(id)}/events`;
    for await (const { data } of this.#stream(path, headers, signal))
      yield JSON.parse(data) as MigrationEvent;
  }

  async *#stream(
    path: string,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): AsyncGenerator<EventSourceMessage> {
    const response = await this.#fetch(path, { headers, signal });
    try {
      for await (const message of readEventStream(response)) {
        if (message.event === 'error') throw errorFromBody(JSON.parse(message.data));
        yield message;
      }
    } catch (thrown) {
      if (thrown instanceof MigrationError) throw thrown;
      if (signal.aborted) throw this.#givenUp(thrown);
      throw new MigrationError('link-lost', `agent at ${this.url}: the connection broke`, { cause: thrown });
    }
  }

  async #json<Answer>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Answer> {
    return (await this.#request(method, path, body, signal)) as Answer;
  }

  /** The parsed answer; undefined if it has no body. */
  async #request(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
    const content =
      body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const response = await this.#fetch(path, { method, ...content, ...(signal && { signal }) });
    return response.status === 204 ? undefined : await this.#parsed(response);
  }

  /** The answer of a request that went well. Throws the agent's error where it did not. */
  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const response = await this.#send(path, init);
    if (response.ok) return response;
    throw errorFromBody(((await this.#parsed(response)) as Partial<ErrorAnswer> | null)?.error);
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    try {
      return await this.#connection.fetch(this.#connection.base + path, init);
    } catch (thrown) {
      throw this.#connectionError(thrown);
    }
  }

  async #parsed(response: Response): Promise<unknown> {
    try {
      return await response.json();
    } catch (thrown) {
      if (thrown instanceof SyntaxError) throw this.#notAnAgent(response, thrown);
      throw this.#connectionError(thrown);
    }
  }

  #connectionError(thrown: unknown): MigrationError {
    if (thrown instanceof MigrationError) return thrown;
    if (thrown instanceof Error && GIVEN_UP.has(thrown.name)) return this.#givenUp(thrown);
    // fetch() says 'fetch failed' and has the reason in its cause
    const cause = thrown instanceof Error ? thrown.cause : undefined;
    const code =
      cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(thrown);
    const untrusted = tlsReason(cause);
    if (untrusted !== undefined) {
      const unnamed = this.#access.ca === undefined && isUnknownIssuer(cause);
      const reason = unnamed ? NO_CA : untrusted;
      return new MigrationError('peer-untrusted', `agent at ${this.url}: ${reason}`, { cause: thrown });
    }
    const reason = NOT_CONNECTED.get(code);
    if (reason === undefined) {
      const remedy = this.url.startsWith('http:') ? '; with TLS an address begins with https://' : '';
      const text = `agent at ${this.url}: the connection broke (${code})${remedy}`;
      return new MigrationError('link-lost', text, {
        cause: thrown,
      });
    }
    return new MigrationError(
      'peer-unreachable',
      `agent at ${this.url}: ${reason}. Start it with 'systemctl start vmferry' (where it is installed) or 'vmferry agent --config FILE', or name another with --agent URL or VMFERRY_AGENT`,
      { cause: thrown },
    );
  }

  /** The caller's own signal has ended it: nothing is wrong with the connection. */
  #givenUp(thrown: unknown): MigrationError {
    return thrown instanceof Error && thrown.name === 'TimeoutError'
      ? new MigrationError('timeout', `agent at ${this.url}: it did not answer in time`, { cause: thrown })
      : new MigrationError('cancelled', `agent at ${this.url}: you stopped waiting for its answer`, {
          cause: thrown,
        });
  }

  #notAnAgent(response: Response, cause: unknown): MigrationError {
    return new MigrationError(
      'peer-failed',
      `agent at ${this.url}: what answers there (HTTP ${response.status}) is no vmferry agent. Check the address given by --agent or VMFERRY_AGENT`,
      { cause },
    );
  }
}

function guestPath(name: string): string {
  return `/v1/guests/${encodeURIComponent(name)}`;
}
