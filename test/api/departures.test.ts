import { once } from 'node:events';
import { type AddressInfo, connect, Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import t from 'tap';
import { createHttpServer } from '../../agent/api/http-server.js';
import { AgentClient } from '../../client/agent-client.js';
import type { ErrorAnswer } from '../../shared/api.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { MIGRATION_ID } from '../support/api-samples.js';
import { listeningServer, quietServer } from '../support/api-server.js';

/** One side leaves while the other counts on it. */

await t.test('a client that goes within its request is no failure of an action', async (t) => {
  const log = new PassThrough();
  const logger = pino({ level: 'debug' }, log);
  const app = createHttpServer({ service: new FakeAgentService(), logger });
  t.teardown(() => app.close());
  await app.listen({ host: '127.0.0.1', port: 0 });
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  app.server.once('request', () => client.destroy());
  client.write(
    'POST /v1/migrations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
  );
  for await (const line of createInterface(log)) {
    const { level, url, msg } = JSON.parse(line) as { level: number; url?: string; msg: string };
    t.ok(level < logger.levels.values['error']!, msg);
    if (url === undefined) continue;
    t.equal(msg, 'the client went away within its request');
    break;
  }
});

await t.test('who stops waiting for an answer is not told that the connection broke', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const leaving = new AbortController();
  service.doctor = () => {
    leaving.abort();
    return Promise.resolve(service.health);
  };
  const client = new AgentClient(url);
  await t.rejects(client.doctor(leaving.signal), {
    code: 'cancelled',
    message: `agent at ${url}: you stopped waiting for its answer`,
  });
  await t.rejects(client.doctor(AbortSignal.abort(new DOMException('late', 'TimeoutError'))), {
    code: 'timeout',
    message: `agent at ${url}: it did not answer in time`,
  });
  const following = new AbortController();
  const events = client.migrationEvents(MIGRATION_ID, -1, following.signal);
  const next = events.next();
  await service.eventLog.until((log) => log.readers === 1);
  following.abort();
  await t.rejects(next, { code: 'cancelled' });
});

await t.test('an agent that shuts down says so, in the words of all its errors', async (t) => {
  const app = quietServer(new FakeAgentService());
  const client = new Socket();
  const ask = async () => {
    client.write('GET /v1/node HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n');
    return String(((await once(client, 'data')) as [Buffer])[0]);
  };
  let answer = '';
  // The last moment in which it takes a request, on a connection that was kept.
  app.addHook('preClose', async () => void (answer = await ask()));
  await app.listen({ host: '127.0.0.1', port: 0 });
  client.connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  t.match(await ask(), /^HTTP\/1\.1 200 OK/);
  await app.close();
  t.match(answer, /^HTTP\/1\.1 503 Service Unavailable\r\n.*connection: close\r\n/is);
  t.match(JSON.parse(answer.slice(answer.indexOf('{'))) as ErrorAnswer, {
    error: { code: 'shutting-down', retryable: true, message: /shutting down: try again when it is back/ },
  });
});
