-- An index for every filter of the lists in REST. `outcome` is set exactly where `state` is 'finished'.
CREATE INDEX jobs_outcome ON jobs (outcome, id) WHERE outcome IS NOT NULL;
CREATE INDEX jobs_order_state ON jobs (order_id, state, outcome);
CREATE INDEX jobs_package_state ON jobs (package, state, outcome);
CREATE INDEX terminals_product ON terminals (product);
CREATE INDEX terminals_version ON terminals (version);
CREATE INDEX terminals_product_version ON terminals (product, version);
