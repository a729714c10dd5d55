import { setImmediate } from 'node:timers/promises';
import type { InjectOptions } from 'fastify';
import t from 'tap';
import { API_LIMITS } from '../../agent/api/limits.js';
import type { ConsoleChunk, ErrorAnswer } from '../../shared/api.js';
import { ERROR_CODES, MigrationError, type ErrorCode } from '../../shared/errors.js';
import { MAX_IMAGE_BYTES } from '../../shared/guest-definition.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { definition, migrationInfo, MIGRATION_ID, nodeInfo } from '../support/api-samples.js';
import { quietServer } from '../support/api-server.js';

await t.test('looks at the node, its guests, migrations and queue', async (t) => {
  const service = new FakeAgentService();
  const app = quietServer(service);
  t.teardown(() => app.close());
  const get = async (url: string): Promise<unknown> => {
    const response = await app.inject({ url });
    t.equal(response.statusCode, 200, url);
    return response.json();
  };
  t.same(await get('/v1/node'), nodeInfo);
  t.same(await get('/v1/status'), service.status());
  t.same(await get('/v1/queue'), []);
  t.same(await get('/v1/guests'), service.guests());
  t.same(await get('/v1/guests/web-1'), service.guest('web-1'));
  t.same(await get('/v1/migrations'), [migrationInfo()]);
  t.same(await get(`/v1/migrations/${MIGRATION_ID}`), migrationInfo());
  t.same(
    await get('/v1/guests/web-1/console'),
    { position: 4, end: 16, text: 'hello world\n' },
    'chunks are joined',
  );
  t.same(await get('/v1/guests/web-1/console?position=9'), { position: 9, end: 21, text: 'hello world\n' });
});

await t.test('defines a guest with its image and drives it', async (t) => {
  const service = new FakeAgentService();
  const app = quietServer(service);
  t.teardown(() => app.close());
  const image = Buffer.alloc(MAX_IMAGE_BYTES, 0x7f);
  const defined = await app.inject({
    method: 'POST',
    url: '/v1/guests',
    payload: {
      definition: { ...definition, memory: '64MiB', program: 'image' },
      image: image.toString('base64'),
    },
  });
  t.equal(defined.statusCode, 201, 'the largest image fits');
  const [call] = service.calls;
  t.same(call?.[1], { ...definition, program: 'image' }, 'sizes with units are bytes by then');
  t.ok(image.equals(call?.[2] as Uint8Array), 'the image arrives as bytes');

  for (const [action, status] of [
    ['start', 'running'],
    ['pause', 'paused'],
    ['resume', 'running'],
    ['stop', 'stopped'],
  ] as const) {
    const response = await app.inject({ method: 'POST', url: `/v1/guests/web-1/${action}` });
    t.equal(response.statusCode, 200, action);
    t.equal(response.json<{ status: string }>().status, status, action);
  }
  const input = await app.inject({
    method: 'POST',
    url: '/v1/guests/web-1/console',
    payload: { data: Buffer.from('ls\r').toString('base64') },
  });
  t.equal(input.statusCode, 204);
  t.same(service.calls.at(-1), ['consoleInput', 'web-1', 'ls\r']);
  const gone = await app.inject({ method: 'DELETE', url: '/v1/guests/web-1' });
  t.equal(gone.statusCode, 204);
  t.notOk(service.guestsByName.has('web-1'));
});

await t.test('adopts a machine, and says how fit the node is', async (t) => {
  const service = new FakeAgentService();
  const app = quietServer(service);
  t.teardown(() => app.close());
  const url = '/v1/guests/db-1/adopt';
  const adopted = await app.inject({ method: 'POST', url, payload: { qmp: '/run/db.qmp' } });
  t.equal(adopted.statusCode, 201);
  t.match(adopted.json(), { name: 'db-1' });
  t.same(service.calls.at(-1), ['adoptGuest', 'db-1', '/run/db.qmp']);
  const wrong = await app.inject({ method: 'POST', url, payload: { qmp: 7 } });
  t.match(wrong.json(), { error: { code: 'invalid-request', message: /qmp/ } });
  const health = await app.inject({ method: 'GET', url: '/v1/doctor' });
  t.same(health.json(), service.health);
  const peers = await app.inject({ method: 'GET', url: '/v1/doctor/peers' });
  t.same(peers.json(), service.peerReports);
});

await t.test('starts, checks and cancels migrations', async (t) => {
  const service = new FakeAgentService();
  const app = quietServer(service);
  t.teardown(() => app.close());
  const request = { vm: 'web-1', to: 'b', options: { maxDowntimeMs: 5, verify: 'after' } };
  const started = await app.inject({ method: 'POST', url: '/v1/migrations', payload: request });
  t.equal(started.statusCode, 202);
  t.same(started.json(), migrationInfo());
  t.same(service.calls.at(-1), ['startMigration', request], 'options that are not given stay so');
  const bare = await app.inject({ method: 'POST', url: '/v1/migrations', payload: { vm: 'web-1', to: 'b' } });
  t.equal(bare.statusCode, 202);
  t.same(service.calls.at(-1), ['startMigration', { vm: 'web-1', to: 'b', options: {} }]);
  const checked = await app.inject({ method: 'POST', url: '/v1/preflight', payload: request });
  t.same(checked.json(), service.report);
  t.same(service.calls.at(-1), ['preflight', request]);
  const limit = (payload: object) =>
    app.inject({ method: 'PATCH', url: `/v1/migrations/${MIGRATION_ID}`, payload });
  const limited = await limit({ bandwidthBytesPerSecond: 1_000_000 });
  t.match(limited.json(), { id: MIGRATION_ID, bandwidthBytesPerSecond: 1_000_000 });
  t.same(service.calls.at(-1), ['limitMigration', MIGRATION_ID, 1_000_000]);
  for (const wrong of [
    {},
    { bandwidthBytesPerSecond: -1 },
    { bandwidthBytesPerSecond: 7999 },
    { bandwidthBytesPerSecond: 8000, more: 1 },
  ]) {
    t.match(await limit(wrong), { statusCode: 400 });
  }
  const cancelled = await app.inject({ method: 'POST', url: `/v1/migrations/${MIGRATION_ID}/cancel` });
  t.equal(cancelled.statusCode, 200);
  t.same(service.calls.at(-1), ['cancelMigration', MIGRATION_ID]);
});

await t.test('every failure has one form', async (t) => {
  const service = new FakeAgentService();
  const app = quietServer(service);
  t.teardown(() => app.close());
  const json = { 'content-type': 'application/json' };
  const post = { method: 'POST', url: '/v1/migrations', headers: json } as const;
  const large = `{"vm":"${'x'.repeat(API_LIMITS.bodyBytes)}"}`;
  const cases: [string, InjectOptions, number, ErrorCode, RegExp][] = [
    ['unknown path', { url: '/v2/status' }, 404, 'not-found', /GET \/v2\/status/],
    ['unknown method', { method: 'PUT', url: '/v1/node' }, 404, 'not-found', /PUT \/v1\/node/],
    ['unknown guest', { url: '/v1/guests/nope' }, 404, 'not-found', /'nope' is not defined/],
    ['unknown guest console', { url: '/v1/guests/nope/console?follow=true' }, 404, 'not-found', /'nope'/],
    ['unknown migration', { url: '/v1/migrations/unknown-id' }, 404, 'not-found', /'unknown-id'/],
    ['its events', { url: '/v1/migrations/unknown-id/events' }, 404, 'not-found', /'unknown-id'/],
    ['bad guest name', { url: '/v1/guests/-x' }, 400, 'invalid-request', /name: must be 1 to 63 letters/],
    ['bad escape in the path', { url: '/v1/guests/%zz' }, 400, 'invalid-request', /not valid/],
    ['bad migration id', { url: '/v1/migrations/X' }, 400, 'invalid-request', /id: must be 8 to 64/],
    ['bad JSON', { ...post, payload: '{"vm":' }, 400, 'invalid-request', /JSON/],
    ['prototype in JSON', { ...post, payload: '{"__proto__":{}}' }, 400, 'invalid-request', /not valid/],
    ['empty body', { ...post, payload: '' }, 400, 'invalid-request', /empty/],
    ['no body', { method: 'POST', url: '/v1/migrations' }, 400, 'invalid-request', /migration request/],
    ['null', { ...post, payload: 'null' }, 400, 'invalid-request', /migration request/],
    ['unknown field', { ...post, payload: '{"vm":"a","to":"b","x":1}' }, 400, 'invalid-request', /"x"/],
    [
      'bad option',
      { ...post, payload: '{"vm":"a","to":"b","options":{"streams":0}}' },
      400,
      'invalid-request',
      /options\.streams/,
    ],
    ['large body', { ...post, payload: large }, 413, 'invalid-request', /too large/],
    [
      'wrong type',
      { ...post, headers: { 'content-type': 'text/plain' }, payload: 'hello' },
      415,
      'invalid-request',
      /application\/json/,
    ],
    ['bad position', { url: '/v1/guests/web-1/console?position=-1' }, 400, 'invalid-request', /position/],
    ['bad query', { url: '/v1/guests/web-1/console?fast=1' }, 400, 'invalid-request', /fast/],
    [
      'bad Last-Event-ID',
      { url: `/v1/migrations/${MIGRATION_ID}/events`, headers: { 'last-event-id': 'x' } },
      400,
      'invalid-request',
      /Last-Event-ID/,
    ],
    [
      'bad definition',
      { method: 'POST', url: '/v1/guests', payload: { definition: { ...definition, memory: '64KiB' } } },
      400,
      'invalid-definition',
      /memory: must be at least 1 MiB/,
    ],
    [
      'bad base64',
      { method: 'POST', url: '/v1/guests', payload: { definition, image: '*' } },
      400,
      'invalid-definition',
      /image/,
    ],
    [
      'web page',
      { url: '/v1/node', headers: { origin: 'http://x.example' } },
      400,
      'invalid-request',
      /Origin/,
    ],
  ];
  for (const [what, request, status, code, message] of cases) {
    const response = await app.inject(request);
    const { error } = response.json<ErrorAnswer>();
    t.equal(response.statusCode, status, `${what}: status`);
    t.equal(error.code, code, `${what}: code`);
    t.match(error.message, message, `${what}: message`);
    t.equal(error.retryable, ERROR_CODES[code].retryable, `${what}: retryable`);
  }
  t.same(service.calls, [], 'nothing of it reached the agent');
});

await t.test("errors of the agent keep their code and take the code's status", async (t) => {
  const service = new FakeAgentService();
  const app = quietServer(service);
  t.teardown(() => app.close());
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    service.failures.set('startGuest', new MigrationError(code, `because of ${code}`));
    const response = await app.inject({ method: 'POST', url: '/v1/guests/web-1/start' });
    t.equal(response.statusCode, ERROR_CODES[code].status, code);
    t.same(response.json(), {
      error: { code, message: `because of ${code}`, retryable: ERROR_CODES[code].retryable },
    });
  }
  service.failures.set('startGuest', new TypeError('secret of the inside'));
  const response = await app.inject({ method: 'POST', url: '/v1/guests/web-1/start' });
  t.equal(response.statusCode, 500);
  t.equal(response.json<ErrorAnswer>().error.code, 'internal');
  t.notMatch(response.body, /secret/, 'a defect is not described to clients');
});

await t.test('a console is told in pieces', async (t) => {
  const service = new FakeAgentService();
  const piece = 'x'.repeat(100);
  // eslint-disable-next-line @typescript-eslint/require-await -- as the interface has it
  service.console = async function* (_name, position) {
    for (let at = position; at < 1000; at += 100) yield { position: at, end: at + 100, text: piece };
    return null;
  };
  const app = quietServer(service, { consoleBytes: 250 });
  t.teardown(() => app.close());
  const read = async (position: number) =>
    (await app.inject({ url: `/v1/guests/web-1/console?position=${position}` })).json<ConsoleChunk>();
  t.match(await read(0), { position: 0, end: 300 }, 'up to the limit, in whole chunks');
  t.match(await read(300), { position: 300, end: 600 });
  t.match(await read(900), { position: 900, end: 1000 });
  t.match(await read(1000), { position: 1000, end: 1000, text: '' });
});

await t.test('so many preflights at once, and so many of one caller', async (t) => {
  const service = new FakeAgentService();
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  let underWay = 0;
  service.preflight = async ({ vm, to }) => {
    underWay += 1;
    await ended;
    return { vm, from: 'a', to, ok: true, findings: [] };
  };
  const app = quietServer(service, { preflights: 3, preflightsPerAddress: 2 });
  t.teardown(() => app.close());
  const look = (remoteAddress: string) =>
    app.inject({ method: 'POST', url: '/v1/preflight', payload: { vm: 'web-1', to: 'b' }, remoteAddress });
  const admitted = ['10.0.0.1', '10.0.0.1', '10.0.0.2'].map(look);
  while (underWay < 3) await setImmediate();
  const first = await look('10.0.0.1');
  t.match(first.json(), {
    error: { code: 'limit-exceeded', retryable: true, message: /2 preflights for 10\.0\.0\.1/ },
  });
  t.match((await look('10.0.0.3')).json(), {
    error: { message: /3 preflights of this agent are under way/ },
  });
  end();
  for (const response of await Promise.all(admitted)) t.equal(response.statusCode, 200);
  t.equal((await look('10.0.0.1')).statusCode, 200, 'and then there is room again');
});
