-- What the migrations come to on a new SQLite file; `make schema` writes it.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, oldest_code VARCHAR(32),
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE tenants (
	id VARCHAR NOT NULL,
	sealed_key BLOB,
	sealed_signing_secret BLOB NOT NULL,
	created_at DATETIME NOT NULL, polls_paused_until DATETIME, sealed_previous_secret BLOB, previous_secret_until DATETIME, event_position BIGINT DEFAULT 0 NOT NULL, sweep_after DATETIME, queue_due_at DATETIME, queue_tried_at DATETIME, queue_tries INTEGER DEFAULT 0 NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE trainings (
	id VARCHAR NOT NULL,
	tenant_id VARCHAR NOT NULL,
	model_id VARCHAR NOT NULL,
	status VARCHAR NOT NULL,
	upstream_status VARCHAR,
	baseline_status VARCHAR,
	baseline_updated_at VARCHAR,
	left_baseline BOOLEAN NOT NULL,
	overdue BOOLEAN NOT NULL,
	suspended BOOLEAN NOT NULL,
	not_found_count INTEGER NOT NULL,
	key_refused_count INTEGER NOT NULL,
	readings INTEGER NOT NULL,
	failure_code VARCHAR,
	failure_message VARCHAR,
	caller_metadata JSON NOT NULL,
	sequence INTEGER NOT NULL,
	created_at DATETIME NOT NULL,
	triggered_at DATETIME,
	last_polled_at DATETIME,
	finished_at DATETIME,
	due_at DATETIME,
	fence INTEGER NOT NULL, expiring BOOLEAN DEFAULT 0 NOT NULL, queues BOOLEAN DEFAULT 0 NOT NULL, to_confirm BOOLEAN DEFAULT 0 NOT NULL, submitted_at DATETIME, ready_expected_from DATETIME, ready_expected_at DATETIME, ready_expected_to DATETIME, traceparent VARCHAR,
	PRIMARY KEY (id),
	FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_trainings_due ON trainings (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_trainings_tenant ON trainings (tenant_id, id);
CREATE UNIQUE INDEX uq_trainings_active ON trainings (tenant_id, model_id) WHERE finished_at IS NULL;
CREATE TABLE callbacks (
	id VARCHAR NOT NULL,
	tenant_id VARCHAR NOT NULL,
	training_id VARCHAR NOT NULL,
	url VARCHAR NOT NULL,
	events JSON NOT NULL,
	sealed_secret BLOB,
	created_at DATETIME NOT NULL,
	ended_at DATETIME,
	last_problem VARCHAR, sealed_headers BLOB,
	PRIMARY KEY (id),
	FOREIGN KEY(training_id) REFERENCES trainings (id)
);
CREATE UNIQUE INDEX uq_callbacks_url ON callbacks (training_id, url);
CREATE TABLE attempts (
	id VARCHAR NOT NULL,
	delivery_id VARCHAR NOT NULL,
	number INTEGER NOT NULL,
	started_at DATETIME NOT NULL,
	duration_ms INTEGER,
	status_code INTEGER,
	error_class VARCHAR,
	excerpt TEXT NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id)
);
CREATE UNIQUE INDEX uq_attempts_number ON attempts (delivery_id, number);
CREATE TABLE heartbeats (
	id INTEGER NOT NULL,
	at DATETIME NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX ix_trainings_finished ON trainings (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE webhook_endpoints (
	id VARCHAR NOT NULL,
	tenant_id VARCHAR NOT NULL,
	url VARCHAR NOT NULL,
	events JSON NOT NULL,
	description VARCHAR NOT NULL,
	caller_metadata JSON NOT NULL,
	header_names JSON NOT NULL,
	sealed_headers BLOB,
	sealed_secret BLOB NOT NULL,
	sealed_previous_secret BLOB,
	previous_secret_until DATETIME,
	retry_schedule JSON,
	status VARCHAR NOT NULL,
	disabled_reason VARCHAR,
	failing_since DATETIME,
	last_problem VARCHAR,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	deleted_at DATETIME,
	PRIMARY KEY (id),
	FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_webhook_endpoints_tenant ON webhook_endpoints (tenant_id, id) WHERE deleted_at IS NULL;
CREATE TABLE recoveries (
	id VARCHAR NOT NULL,
	tenant_id VARCHAR NOT NULL,
	endpoint_id VARCHAR NOT NULL,
	since DATETIME NOT NULL,
	until DATETIME NOT NULL,
	total INTEGER NOT NULL,
	resent INTEGER NOT NULL,
	"after" VARCHAR NOT NULL,
	created_at DATETIME NOT NULL,
	finished_at DATETIME,
	PRIMARY KEY (id),
	FOREIGN KEY(endpoint_id) REFERENCES webhook_endpoints (id)
);
CREATE INDEX ix_recoveries_running ON recoveries (id) WHERE finished_at IS NULL;
CREATE INDEX ix_recoveries_endpoint ON recoveries (endpoint_id, id);
CREATE TABLE "events" (
	id VARCHAR NOT NULL,
	tenant_id VARCHAR NOT NULL,
	training_id VARCHAR,
	type VARCHAR NOT NULL,
	sequence INTEGER NOT NULL,
	terminal BOOLEAN NOT NULL,
	body BLOB NOT NULL,
	created_at DATETIME NOT NULL,
	position BIGINT NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(training_id) REFERENCES trainings (id)
);
CREATE UNIQUE INDEX uq_events_terminal ON events (training_id) WHERE terminal;
CREATE UNIQUE INDEX uq_events_sequence ON events (training_id, sequence);
CREATE UNIQUE INDEX uq_events_position ON events (tenant_id, position);
CREATE INDEX ix_events_of_endpoints ON events (created_at) WHERE training_id IS NULL;
CREATE TABLE "deliveries" (
	id VARCHAR NOT NULL,
	tenant_id VARCHAR NOT NULL,
	event_id VARCHAR NOT NULL,
	training_id VARCHAR,
	callback_id VARCHAR,
	event_type VARCHAR NOT NULL,
	sequence INTEGER NOT NULL,
	status VARCHAR NOT NULL,
	attempts_made INTEGER NOT NULL,
	attempts_started INTEGER NOT NULL,
	created_at DATETIME NOT NULL,
	finished_at DATETIME,
	due_at DATETIME,
	fence INTEGER NOT NULL,
	host VARCHAR NOT NULL,
	give_up_at DATETIME NOT NULL,
	endpoint_id VARCHAR,
	PRIMARY KEY (id),
	CONSTRAINT deliveries_endpoint_id_fkey FOREIGN KEY(endpoint_id) REFERENCES webhook_endpoints (id),
	FOREIGN KEY(callback_id) REFERENCES callbacks (id),
	FOREIGN KEY(event_id) REFERENCES events (id)
);
CREATE INDEX ix_deliveries_tenant ON deliveries (tenant_id, id);
CREATE INDEX ix_deliveries_training ON deliveries (training_id, id);
CREATE UNIQUE INDEX uq_deliveries_callback ON deliveries (event_id, callback_id);
CREATE INDEX ix_deliveries_callback ON deliveries (callback_id) WHERE callback_id IS NOT NULL;
CREATE UNIQUE INDEX uq_deliveries_endpoint ON deliveries (event_id, endpoint_id) WHERE endpoint_id IS NOT NULL;
CREATE INDEX ix_deliveries_endpoint ON deliveries (endpoint_id, id) WHERE endpoint_id IS NOT NULL;
CREATE INDEX ix_deliveries_endpoint_status ON deliveries (endpoint_id, status, id) WHERE endpoint_id IS NOT NULL;
CREATE INDEX ix_deliveries_status ON deliveries (tenant_id, status, id);
CREATE TABLE "idempotency_keys" (
	tenant_id VARCHAR NOT NULL,
	"key" VARCHAR NOT NULL,
	fingerprint VARCHAR NOT NULL,
	training_id VARCHAR,
	outcome JSON,
	created_at DATETIME NOT NULL,
	PRIMARY KEY (tenant_id, "key")
);
CREATE INDEX ix_idempotency_keys_created ON idempotency_keys (created_at);
CREATE TABLE keysets (
	id INTEGER NOT NULL,
	sealed BLOB NOT NULL,
	created_at DATETIME NOT NULL,
	sealed_at DATETIME NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX ix_tenants_key ON tenants (id) WHERE sealed_key IS NOT NULL;
CREATE INDEX ix_deliveries_due ON deliveries (due_at, host, tenant_id) WHERE due_at IS NOT NULL;
CREATE INDEX ix_tenants_queue ON tenants (queue_due_at) WHERE queue_due_at IS NOT NULL;
CREATE INDEX ix_trainings_queue ON trainings (tenant_id, id) WHERE status = 'queued';
CREATE TABLE call_counts (
	day DATE NOT NULL,
	kind VARCHAR NOT NULL,
	count BIGINT NOT NULL,
	PRIMARY KEY (day, kind)
);
CREATE TABLE moves (
	id INTEGER NOT NULL,
	name VARCHAR NOT NULL,
	state VARCHAR NOT NULL,
	other VARCHAR NOT NULL,
	copied JSON NOT NULL,
	batches INTEGER NOT NULL,
	began_at DATETIME NOT NULL,
	ended_at DATETIME,
	PRIMARY KEY (id)
);
CREATE INDEX ix_deliveries_failing ON deliveries (host, id) WHERE status = 'dead' OR (status = 'pending' AND attempts_made > 0);
CREATE INDEX ix_trainings_suspended ON trainings (tenant_id) WHERE suspended = 1
