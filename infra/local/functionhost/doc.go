// Package functionhost plays the Azure Functions host for a custom handler on
// one machine.
//
// It reads host.json and every function.json one level below it, starts the
// handler process, fires blob, Service Bus, timer and HTTP triggers with the
// envelopes of the real host, and ends the handler as the real host does: by
// SIGKILL, or by SIGTERM and then SIGKILL. The README of infra/local lists the rules it holds to
// and the test of each.
//
// The sources are the custom handler documentation
// (https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers)
// and the code of Azure/azure-functions-host, Azure/azure-webjobs-sdk and
// Azure/azure-sdk-for-net; a comment names the class where a behaviour is not
// documented. Where the real host is unkind, this one is too: an empty answer
// hangs until functionTimeout, a functionTimeout takes every other invocation
// of the process with it, exit status 0 is never restarted, an event of a blob
// may come twice and after the blob has changed.
//
// An instance is a whole host: handler process, Service Bus receivers, timers,
// a share in the queue of found blobs. Crash takes one away with all of it.
//
// # Faults
//
// With Options.Faults, these points ask the plan. Detail is what Rule.Match
// looks at.
//
//   - host.invoke, before the handler gets a request that is no HTTP request;
//     detail is the function and what it is about: a message id, or container
//     and blob. Delay; AnswerLate; AnswerTwice (the handler gets it twice at
//     once); LoseAnswer (the handler does it, the host counts a failure);
//     WorkLate (a failure at once, the handler gets it After later); Cut (the
//     process is killed After it got the request, with all it is doing);
//     CutAfter (the connection breaks after Bytes octets of the request);
//     Answer (a failure without the handler); Expire (the message's lock is
//     lost before the handler starts, and the message is there again at once).
//   - host.answer, when the handler has answered: Delay, AnswerLate; LoseAnswer
//     (a failure); Cut (a failure, and the process is killed); Answer (a
//     failure); Expire (the lock is lost before the message is settled).
//   - host.renew, when a message lock is renewed; detail is function and message
//     id. Delay; Cut, Answer (it fails); LoseAnswer (it is done and counts as
//     failed); Expire (the lock is lost).
//   - host.blob-event, when a blob was found; detail is function, container and
//     blob. Delay (later events overtake it), AnswerTwice and LoseAnswer (it
//     comes twice), Cut (it never comes).
//   - host.timer, when a timer is due; detail is the function. Delay,
//     AnswerTwice (it fires twice), Cut (it doesn't fire).
//   - host.http, when a request has passed the front door; detail is method and
//     path. Delay, AnswerLate, LoseAnswer, WorkLate, Cut, CutAfter (in the
//     middle of the answer's body), Throttle (429 with Retry-After), Answer.
//
// The verbs host.kill, host.crash and host.restart take {"instance": i}, without
// one instance 0; see the methods of Host.
//
// # What differs from the real host
//
//   - Triggers: serviceBusTrigger on queues (cardinality one, no sessions),
//     blobTrigger, timerTrigger, httpTrigger. Any other trigger and any output
//     binding but http is refused at start, where the real host would log it
//     and go on with the other functions.
//   - An httpTrigger needs customHandler.enableProxyingHttpRequest, so no
//     Outputs are read.
//   - Connections are connection strings. Identity-based connections are
//     refused.
//   - Blobs are found by listing the container every BlobPoll, whatever the
//     binding's source says: storage emulators send no Event Grid events. An
//     event goes into the host's queue without the webhook.
//   - Timers work without AzureWebJobsStorage; then nothing outlives the Host.
//     A timer whose lease was lost waits for it again; the real host ends.
//   - The end of a process is noticed before what it was doing has failed. In the
//     real host a message that comes again in between is lost to the dead
//     process, too, and uses up a delivery; Answer at host.invoke plays that.
//   - The front door's address is the only one: there is no /admin, no
//     /runtime/webhooks.
package functionhost
