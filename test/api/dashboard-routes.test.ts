import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { checkAccess } from '../../agent/api/api-access.js';
import { createHttpServer } from '../../agent/api/http-server.js';
import { ApiTokens, createToken, tokenLine } from '../../shared/api-tokens.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { quietServer } from '../support/api-server.js';
import { temporaryDirectory } from '../support/small-disk.js';

const reader = createToken('bob', 'read');
const operator = createToken('alice', 'operate');
const file = join(temporaryDirectory(t), 'tokens.yaml');
writeFileSync(file, [reader, operator].map(({ entry }) => tokenLine(entry)).join('\n'), { mode: 0o600 });
const tokens = ApiTokens.read(file);
/** Asks for tokens. */
const app = createHttpServer({
  service: new FakeAgentService(),
  logger: pino({ level: 'silent' }),
  checkAccess: (request) => checkAccess(request, { tokens, exposed: true, peers: new Set() }),
});
t.teardown(() => app.close());
const open = quietServer(new FakeAgentService());
t.teardown(() => open.close());

/** What a page or a module loads, as paths. */
function loads(path: string, text: string): string[] {
  const named = path === '/' ? /(?:src|href)="([^"]+)"/g : /(?:\bfrom|\bimport)\s*"([^"]+)"|from '([^']+)'/g;
  return [...text.matchAll(named)].map(
    (match) => new URL(match[1] ?? match[2] ?? '', `http://a${path}`).pathname,
  );
}

await t.test('all that the page loads is served, to everybody, as what it is', async (t) => {
  const types: Record<string, string> = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
  const seen = new Set<string>();
  const waiting = ['/'];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const response = await app.inject({ url: path });
    t.equal(response.statusCode, 200, path);
    const type = path === '/' ? 'text/html' : types[path.split('.').at(-1) ?? ''];
    t.equal(String(response.headers['content-type']).split(';')[0], type, path);
    if (path === '/' || (path.endsWith('.js') && !path.endsWith('/chart.js')))
      waiting.push(...loads(path, response.body));
  }
  t.ok(seen.has('/shared/units.js') && seen.has('/dashboard/vendor/lit-html/directive-helpers.js'));
  t.ok(seen.has('/dashboard/icon.svg') && seen.has('/dashboard/dashboard.css'));
});

await t.test('it may load and ask nothing but the agent, and be in no other page', async (t) => {
  for (const url of ['/', '/dashboard/main.js', '/dashboard/vendor/chart.js']) {
    const { headers } = await app.inject({ url });
    const policy = String(headers['content-security-policy']).split('; ');
    t.strictSame(
      policy.filter((directive) => !/ ('none'|'self')$/.test(directive)),
      [],
    );
    for (const part of [
      "default-src 'none'",
      "script-src 'self'",
      "frame-ancestors 'none'",
      "form-action 'none'",
    ])
      t.ok(policy.includes(part), part);
    t.match(headers, {
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
    });
  }
});

await t.test('what a browser has kept is not sent again', async (t) => {
  const first = await app.inject({ url: '/dashboard/main.js' });
  t.equal(first.headers['cache-control'], 'no-cache');
  const etag = String(first.headers.etag);
  for (const kept of [etag, `W/${etag}`, `"other", ${etag}`]) {
    const again = await app.inject({ url: '/dashboard/main.js', headers: { 'if-none-match': kept } });
    t.equal(again.statusCode, 304, kept);
    t.equal(again.body, '');
    t.equal(again.headers.etag, etag);
  }
  const stale = await app.inject({ url: '/dashboard/main.js', headers: { 'if-none-match': '"other"' } });
  t.equal(stale.statusCode, 200);
});

await t.test('nothing else is served, however it is asked for', async (t) => {
  const paths = [
    ...['/dashboard', '/dashboard/', '/dashboard/main.js.map', '/dashboard/main.ts', '/dashboard/vendor/'],
    ...[
      '/dashboard/../package.json',
      '/dashboard/%2e%2e/%2e%2e/package.json',
      '/dashboard/..%2fpackage.json',
    ],
    ...[
      '/dashboard//etc/passwd',
      '//etc/passwd',
      '/dashboard/vendor/lit-html/package.json',
      '/shared/config.js',
    ],
    ...['/dashboard/main.js/', '/dashboard/main.js%00.css', '/agent/agent.js', '/index.html'],
  ];
  for (const url of paths) {
    t.equal((await open.inject({ url })).statusCode, 404, url);
    t.equal((await app.inject({ url })).statusCode, 401, `${url}, without a token`);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH'] as const) {
    t.equal((await open.inject({ url: '/', method })).statusCode, 404, method);
  }
  const head = await app.inject({ url: '/', method: 'HEAD' });
  t.equal(head.statusCode, 200);
  t.equal(head.body, '');
});

await t.test('callers are told who they are', async (t) => {
  const access = async (token: string) =>
    (await app.inject({ url: '/v1/access', headers: { authorization: `Bearer ${token}` } })).json<unknown>();
  t.same(await access(reader.token), { role: 'read', holder: 'bob' });
  t.same(await access(operator.token), { role: 'operate', holder: 'alice' });
  t.match(await access('vmferry_other'), { error: { code: 'unauthenticated' } });
  t.same((await open.inject({ url: '/v1/access' })).json(), { role: 'operate', holder: null });
});

await t.test("the agent's own page may act", async (t) => {
  const headers = { host: '127.0.0.1:7800', origin: 'http://127.0.0.1:7800' };
  const payload = { vm: 'web-1', to: 'b' };
  const own = await open.inject({ url: '/v1/migrations', method: 'POST', headers, payload });
  t.equal(own.statusCode, 202);
  const other = { ...headers, origin: 'http://127.0.0.1:9999' };
  const refused = await open.inject({ url: '/v1/migrations', method: 'POST', headers: other, payload });
  t.equal(refused.statusCode, 400);
});
