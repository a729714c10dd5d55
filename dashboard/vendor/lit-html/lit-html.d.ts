/** The agent serves it under this name; see agent/api/dashboard-files.ts. */
export * from 'lit-html';
