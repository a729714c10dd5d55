import { readFile } from 'node:fs/promises';
import t from 'tap';
import { sourceDiagram, targetDiagram } from '../support/state-diagram.js';

/** The document shows the product's own tables. Where this fails, what it wanted is what belongs into the document. */
void t.test('the state diagrams of PROTOCOL.md', async (t) => {
  const document = await readFile('PROTOCOL.md', 'utf8');
  for (const [name, diagram] of [
    ['source', sourceDiagram()],
    ['target', targetDiagram()],
  ] as const) {
    const body = new RegExp(`<!-- states:${name} -->(.*)<!-- /states:${name} -->`, 's').exec(document)?.[1];
    t.equal(body?.trim(), diagram, name);
  }
});
