import type {
  AccessReport,
  ClusterReport,
  ErrorAnswer,
  HistoryEntry,
  MigrationEvent,
  MigrationInfo,
  MigrationRequest,
  PreflightReport,
} from '../shared/api.js';
import { errorFromBody, MigrationError } from '../shared/errors.js';
import { EventSourceParserStream } from './vendor/eventsource-parser/stream.js';

/** Where the token is kept: until the tab is closed, for this tab alone. */
const TOKEN = 'vmferry-token';

/** An agent asks all others before it answers, and gives each 3 s. ms */
const ANSWER_MS = 20_000;

/** An agent sends at least a comment each 15 s: one that is silent for so long is gone. ms */
const SILENCE_MS = 45_000;

/** What a request needs beside the one field that is checked. */
type Request = Pick<MigrationRequest, 'vm' | 'to'> & { options: Partial<MigrationRequest['options']> };

/** The API of the agent that has served the page. Every failure is a MigrationError: the agent's own, or peer-unreachable. */
export class AgentApi {
  get token(): string | null {
    return sessionStorage.getItem(TOKEN);
  }

  set token(token: string | null) {
    if (token === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, token);
  }

  async access(): Promise<AccessReport> {
    return await this.#json('GET', '/v1/access');
  }

  async cluster(): Promise<ClusterReport> {
    return await this.#json('GET', '/v1/cluster');
  }

  async history(): Promise<HistoryEntry[]> {
    return await this.#json('GET', '/v1/history');
  }

  async migration(id: string): Promise<MigrationInfo> {
    return await this.#json('GET', migrationPath(id));
  }

  async preflight(request: Request): Promise<PreflightReport> {
    return await this.#json('POST', '/v1/preflight', request);
  }

  async startMigration(request: Request): Promise<MigrationInfo> {
    return await this.#json('POST', '/v1/migrations', request);
  }

  async cancelMigration(id: string): Promise<MigrationInfo> {
    return await this.#json('POST', `${migrationPath(id)}/cancel`);
  }

  /** What has happened to a migration, and what happens. EventSource can't send a token: the stream is read with fetch. */
  async *migrationEvents(id: string, signal: AbortSignal): AsyncGenerator<MigrationEvent> {
    const silent = new AbortController();
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => silent.abort(), SILENCE_MS);
    };
    heard();
    try {
      const { body } = await this.#request(
        'GET',
        `${migrationPath(id)}/events`,
        AbortSignal.any([signal, silent.signal]),
      );
      if (!body) return;
      const events = body
        .pipeThrough(new TextDecoderStream())
        .pipeThrough(new EventSourceParserStream({ onComment: heard }));
      for await (const { event, data } of events) {
        heard();
        if (event === 'error') throw errorFromBody(JSON.parse(data));
        yield JSON.parse(data) as MigrationEvent;
      }
    } catch (error) {
      throw unreachable(error);
    } finally {
      clearTimeout(silence);
    }
  }

  async #json<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    try {
      const response = await this.#request(method, path, AbortSignal.timeout(ANSWER_MS), body);
      return (await response.json()) as Answer;
    } catch (error) {
      throw unreachable(error);
    }
  }

  async #request(method: string, path: string, signal: AbortSignal, body?: object): Promise<Response> {
    const { token } = this;
    const response = await fetch(path, {
      method,
      signal,
      cache: 'no-store',
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (response.ok) return response;
    const answer = (await response.json().catch(() => null)) as ErrorAnswer | null;
    throw errorFromBody(answer?.error);
  }
}

function migrationPath(id: string): string {
  return `/v1/migrations/${encodeURIComponent(id)}`;
}

/** What failed on the way to the agent or back: the browser does not say how. */
function unreachable(error: unknown): MigrationError {
  if (error instanceof MigrationError) return error;
  return new MigrationError('peer-unreachable', 'the agent does not answer', { cause: error });
}
