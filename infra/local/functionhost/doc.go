// Package functionhost plays the Azure Functions host for a custom handler on
// one machine.
//
// It reads host.json and every function.json one level below it, starts the
// handler process, fires blob, Service Bus, timer and HTTP triggers with the
// envelopes of the real host, and ends the handler as the real host does: by
// SIGKILL, or by SIGTERM and then SIGKILL.
//
// The sources are the custom handler documentation
// (https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers)
// and the code of Azure/azure-functions-host, Azure/azure-webjobs-sdk and
// Azure/azure-sdk-for-net; a comment names the class where a behaviour is not
// documented. Where the real host is unkind, this one is too: an empty answer
// hangs until functionTimeout, a functionTimeout takes every other invocation
// of the process with it, exit status 0 is never restarted.
//
// What differs from the real host:
//
//   - Triggers: serviceBusTrigger on queues (cardinality one, no sessions),
//     blobTrigger, timerTrigger, httpTrigger. Any other trigger and any output
//     binding but http is refused at start, where the real host would log it
//     and go on with the other functions.
//   - Connections are connection strings. Identity-based connections are
//     refused.
//   - A blob is found by listing its container every BlobPoll, whatever the
//     binding's source says: storage emulators send no Event Grid events.
//   - A blob that failed for the last time is recorded as a blob below
//     azure-webjobs-hosts/poison/ instead of a message on the queue
//     webjobs-blobtrigger-poison, so that no queue endpoint is needed.
//   - The front door's address is the only one: there is no /admin, no
//     /runtime/webhooks.
package functionhost
