import { configReference } from '../shared/config-reference.js';

/** Prints CONFIGURATION.md: what the schema of the configuration says of its fields. */

const INTRODUCTION = `# Configuration

The fields of an agent's configuration, a YAML file. Made from the schema in \`shared/config.ts\` by \`npm run docs\`: what is to be changed is
changed there. What is wrong in a file is told with its line, the field, what was found and what is allowed.

| field | default | allowed | means |
| --- | --- | --- | --- |
`;

const cell = (text: string) => text.replaceAll('|', '\\|');
const rows = configReference().map(
  ({ field, fallback, allowed, description }) =>
    `| \`${field}\` | ${cell(fallback)} | ${cell(allowed)} | ${cell(description)} |\n`,
);
process.stdout.write(INTRODUCTION + rows.join(''));
