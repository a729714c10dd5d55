import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { checkAccess } from '../../agent/api/api-access.js';
import { createHttpServer } from '../../agent/api/http-server.js';
import { ApiTokens, createToken, tokenLine } from '../../shared/api-tokens.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { temporaryDirectory } from '../support/small-disk.js';

const { token, entry } = createToken('prometheus', 'read');
const file = join(temporaryDirectory(t), 'tokens.yaml');
writeFileSync(file, tokenLine(entry), { mode: 0o600 });
const tokens = ApiTokens.read(file);
const service = new FakeAgentService();
const app = createHttpServer({
  service,
  logger: pino({ level: 'silent' }),
  checkAccess: (request) => checkAccess(request, { tokens, exposed: true, peers: new Set() }),
});
t.teardown(() => app.close());

await t.test('metrics are for those who may look', async (t) => {
  const refused = await app.inject({ url: '/metrics' });
  t.equal(refused.statusCode, 401);
  t.match(refused.json(), { error: { code: 'unauthenticated' } });
  const told = await app.inject({ url: '/metrics', headers: { authorization: `Bearer ${token}` } });
  t.equal(told.statusCode, 200);
  t.equal(told.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  t.equal(told.body, 'vmferry_ready 1\n');
});

await t.test('health is for all, and says nothing else', async (t) => {
  for (const method of ['GET', 'HEAD'] as const) {
    t.equal((await app.inject({ url: '/healthz', method })).statusCode, 200);
    t.equal((await app.inject({ url: '/readyz', method })).statusCode, 200);
  }
  t.same((await app.inject({ url: '/healthz' })).json(), { status: 'ok' });
  t.same((await app.inject({ url: '/readyz' })).json(), { ready: true, failing: [], remarks: [] });
  service.readinessReport = { ready: false, failing: ['journal'], remarks: [] };
  const failing = await app.inject({ url: '/readyz' });
  t.equal(failing.statusCode, 503);
  t.same(failing.json(), { ready: false, failing: ['journal'], remarks: [] });
  t.equal((await app.inject({ url: '/healthz' })).statusCode, 200, 'it lives nevertheless');
});

await t.test('no other path is let in by looking like theirs', async (t) => {
  const paths = ['/v1/status', '/nowhere', '/healthz/', '/healthz/../v1/status', '/HEALTHZ', '/v1/healthz'];
  for (const url of [...paths, '/readyz/v1', '//healthz', '/metrics?x=/healthz', '/%2e%2e/v1/status']) {
    t.equal((await app.inject({ url })).statusCode, 401, url);
  }
  t.equal((await app.inject({ url: '/healthz', method: 'POST' })).statusCode, 401, 'nor another method');
  const page = await app.inject({ url: '/healthz', headers: { origin: 'http://evil.example' } });
  t.equal(page.statusCode, 400, 'nor a web page');
});
