/* next_hop: a connection to the host that recipients of an arriving message were routed to (private to the room). */
#ifndef TRANSPORT_NEXT_HOP_H
#define TRANSPORT_NEXT_HOP_H

#include "smtp.h"

/* In the message's arena; whoever makes it sets message->next_hop. */
struct next_hop {
	bool wanted; /* control = cutthrough_delivery */
	bool pass;   /* its defer=pass */
	bool over;   /* no cutthrough (any more): the message takes the ordinary way */
	bool hold;   /* callout=hold: the connection is of use even so */
	bool text;   /* between DATA's 354 and the final dot */
	bool told;   /* the address of the present command was told, and the ACL has not yet had its say */
	bool told_again; /* it was told for an earlier command */
	unsigned covered;
	struct smtp_connection *connection; /* NULL: none, or no more */
	const struct smtp_transport *s;
	struct host_item host;
	struct slice sender; /* of MAIL */
	unsigned smtp_extensions;
	struct address **addresses; /* that the host has accepted: copies */
	struct slice *recipients;   /* what each of them was in the envelope */
	unsigned count, room;
	int64_t max_rcpt;
	struct dot_stuffer stuffer;
	uint64_t sent;
};

/* message->next_hop, made if there is none. NULL: no memory. */
struct next_hop *next_hop_of(struct message *message);
/* The connection is closed; what was told over it is worth nothing for cutthrough delivery. */
void next_hop_drop(struct next_hop *hop);

/* For callout(): */
/* Asks over the connection that is there, if it is one for this address. *asked_ret false: it is not, or it was lost, and
 * somebody has to ask over another one. Otherwise the answer is command()'s. Parks. */
struct hop_question {
	struct scope *sc;
	struct address *address; /* as routed */
	struct slice recipient;  /* as in the envelope */
	const struct smtp_transport *s;
	struct slice from;
	struct smtp_reply *reply;
	struct err *err;
};
NODISCARD enum rc next_hop_ask(struct next_hop *hop, const struct hop_question *q, bool *asked_ret);
/* A connection over which MAIL was accepted, and accepted says whether RCPT for the address was, stays open. */
void next_hop_keep(struct next_hop *hop, const struct hop_question *q, const struct host_item *host,
		   struct smtp_connection *connection, bool accepted);
/* Nobody may be kept waiting for a next hop as long as a message on the queue (cutthrough.c). */
void cutthrough_times(struct smtp_connect_options *options);
/* The parameters of MAIL, of a message whose size only the client knows. */
NODISCARD enum rc next_hop_mail_parameters(const struct hop_question *q, unsigned extensions,
					   struct slice *ret, struct err *err);

#endif
