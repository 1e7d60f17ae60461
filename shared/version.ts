// The version of this agent; the test suite compares it with package.json.

export const VERSION = "0.1.0";
