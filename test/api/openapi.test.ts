import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import t from 'tap';
import { openApiDocument } from '../../agent/api/openapi/document.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { quietServer } from '../support/api-server.js';

const document = JSON.parse(JSON.stringify(openApiDocument())) as Record<string, never>;

await t.test('it is valid OpenAPI 3.1, and all that it refers to is there', async (t) => {
  const validator = new Validator();
  t.match(await validator.validate(structuredClone(document)), { valid: true });
  t.equal(validator.version, '3.1');
  t.doesNotThrow(() => validator.resolveRefs());
});

await t.test('openapi.json is up to date', (t) => {
  const written: unknown = JSON.parse(readFileSync('openapi.json', 'utf8'));
  t.same(written, document, "after a change of the API: 'npm run openapi'");
  t.end();
});

await t.test('it has the routes that are served, and no other; agents serve it', async (t) => {
  const app = quietServer(new FakeAgentService());
  t.teardown(() => app.close());
  const served: string[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = url.replace(/:(\w+)/g, '{$1}');
    for (const each of [method].flat()) if (each !== 'HEAD') served.push(`${each.toLowerCase()} ${path}`);
  });
  const answer = await app.inject('/v1/openapi.json');
  t.same(answer.json(), document);
  const described = Object.entries(document['paths'] as unknown as Record<string, object>).flatMap(
    ([path, item]) => Object.keys(item).map((method) => `${method} ${path}`),
  );
  t.same(described.sort(), served.sort());
});
