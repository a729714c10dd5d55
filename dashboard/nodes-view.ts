import type { ClusterNode } from '../shared/api.js';
import { counted, formatBytes } from '../shared/units.js';
import type { PageContext } from './page-context.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';
import { repeat } from './vendor/lit-html/directives/repeat.js';

export function nodesView({ state }: PageContext): TemplateResult {
  const { cluster } = state;
  const nodes = cluster?.nodes ?? [];
  return html`<section aria-labelledby="nodes">
    <h2 id="nodes">Nodes</h2>
    <ul class="nodes">
      ${repeat(
        nodes,
        ({ node }) => node,
        (node) => nodeView(node, node.node === cluster?.node),
      )}
    </ul>
    ${
      nodes.length === 1
        ? html`<p class="note">
            This node knows no other: name them as <code>peers</code> in its configuration to migrate VMs.
          </p>`
        : nothing
    }
  </section>`;
}

function nodeView({ node, url, status, error }: ClusterNode, own: boolean): TemplateResult {
  return html`<li class="card" data-node=${node}>
    <h3>
      ${node} ${own ? html`<span class="badge">this node</span>` : nothing}
      ${status?.node.drained ? html`<span class="badge warning">drained: takes no VMs</span>` : nothing}
      ${error ? html`<span class="badge problem">does not answer</span>` : nothing}
    </h3>
    ${status ? memoryView(node, status.node) : nothing} ${error ? html`<p>${error.message}</p>` : nothing}
    <p class="note">
      ${status ? html`${counted(status.guests.length, 'VM')}, vmferry ${status.node.version}` : nothing}
      ${own ? nothing : html`<span>${dashboardLink(node, url)}</span>`}
    </p>
  </li>`;
}

function memoryView(
  node: string,
  { memoryUsedBytes, memoryLimitBytes }: { memoryUsedBytes: number; memoryLimitBytes: number },
): TemplateResult {
  return html`<meter
      aria-label="Memory for VMs on node ${node}"
      min="0"
      max=${memoryLimitBytes}
      value=${memoryUsedBytes}
    ></meter>
    <p>${formatBytes(memoryUsedBytes)} of ${formatBytes(memoryLimitBytes)} for VMs in use</p>`;
}

/** To a node's own page, if it has one: each agent acts for its own VMs alone. */
export function dashboardLink(node: string, url: string | undefined): TemplateResult | typeof nothing {
  if (url === undefined || !/^https?:\/\//.test(url)) return nothing;
  return html`<a href="${url.replace(/\/+$/, '')}/" rel="noreferrer">dashboard of ${node}</a>`;
}
