import { writeFileSync } from 'node:fs';
import { openApiDocument } from '../agent/api/openapi/document.js';
import { join } from 'node:path';

/** `npm run openapi`: writes the OpenAPI document to openapi.json, where it is read without an agent. */
writeFileSync(
  join(import.meta.dirname, '../../openapi.json'),
  `${JSON.stringify(openApiDocument(), null, 2)}\n`,
);
