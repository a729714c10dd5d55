import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import t from 'tap';
import { dashboardFiles } from '../../agent/api/dashboard-files.js';
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
  const files = dashboardFiles();
  app.addHook('onRoute', ({ method, url }) => {
    if (files.has(url)) return;
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

await t.test('its examples are of its schemas', (t) => {
  const ajv = new Ajv2020({ strict: false, logger: false });
  formats.default(ajv);
  ajv.addSchema(document, 'document');
  let examples = 0;
  const look = (value: unknown, at: string): void => {
    if (typeof value !== 'object' || value === null) return;
    if ('example' in value && 'schema' in value) {
      examples += 1;
      ajv.validate({ $ref: `document#${at}/schema` }, value.example);
      t.equal(ajv.errorsText(), 'No errors', at);
    }
    for (const [key, inner] of Object.entries(value))
      look(inner, `${at}/${key.replace(/~/g, '~0').replace(/\//g, '~1')}`);
  };
  look(document, '');
  t.ok(examples > 50);
  t.end();
});
