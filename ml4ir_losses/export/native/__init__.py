"""Models as formulas of search engines: what the formats `opensearch`, `elasticsearch`, `solr` and `vespa` share."""
